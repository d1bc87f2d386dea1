#include "server/meta_url.h"

#include <filesystem>

#include "meta/embedded.h"

namespace outlast::server {

Result<std::unique_ptr<meta::Store>> open_meta(const std::string& url, Loop& loop) {
  constexpr std::string_view kEmbedded = "embedded:";
  if (!url.starts_with(kEmbedded) || url.size() == kEmbedded.size())
    return Error(
        Errc::kInvalidArgument,
        "--meta=" + url + " is not understood: write embedded:DIR, a directory that all nodes of this machine share");
  const std::filesystem::path dir = url.substr(kEmbedded.size());
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return Error(Errc::kIo, "cannot make the metadata directory " + dir.string() + ": " + error.message());
  return meta::open_embedded(dir, loop);
}

}  // namespace outlast::server
