#include "etcd/options.h"

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

namespace outlast::etcd {
namespace {

Error bad(std::string_view url, const std::string& why) {
  return {Errc::kInvalidArgument,
          "--meta=" + std::string(url) + " is not understood: " + why +
              "; write etcd://HOST:PORT,HOST:PORT/PREFIX?ca=FILE&cert=FILE&key=FILE&user=NAME&password-file=FILE, all "
              "after the addresses is optional"};
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(at, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

bool is_address(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  const std::string_view port = text.substr(colon + 1);
  return !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string_view::npos &&
         text.find_first_of(" \t@") == std::string_view::npos;
}

Result<std::string> read_file(const std::string& path) {
  if (path.empty()) return std::string();
  errno = 0;
  std::ifstream file(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(file), {}};
  if (!file.is_open() || file.bad())
    return Error(Errc::kIo, "cannot read " + path + ", named by --meta: " + std::strerror(errno == 0 ? EIO : errno));
  if (text.empty()) return Error(Errc::kInvalidArgument, path + ", named by --meta, is empty");
  return text;
}

}  // namespace

Result<Options> parse_url(std::string_view url) {
  if (!url.starts_with(kScheme)) return bad(url, "it does not start with etcd://");
  Options options;
  std::string_view rest = url.substr(kScheme.size()), query;
  if (const std::size_t mark = rest.find('?'); mark != std::string_view::npos) {
    query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  if (const std::size_t slash = rest.find('/'); slash != std::string_view::npos) {
    std::string_view prefix = rest.substr(slash);
    while (prefix.ends_with('/')) prefix.remove_suffix(1);
    if (!prefix.empty()) options.prefix = prefix;
    rest = rest.substr(0, slash);
  }
  for (const std::string_view address : split(rest, ',')) {
    if (!is_address(address)) return bad(url, "'" + std::string(address) + "' is not HOST:PORT");
    options.endpoints.emplace_back(address);
  }
  std::set<std::string_view> seen;
  for (const std::string_view pair : query.empty() ? std::vector<std::string_view>() : split(query, '&')) {
    const std::size_t equals = pair.find('=');
    const std::string_view name = pair.substr(0, equals);
    const std::string value(equals == std::string_view::npos ? std::string_view() : pair.substr(equals + 1));
    std::string* target = name == "ca"              ? &options.ca_file
                          : name == "cert"          ? &options.cert_file
                          : name == "key"           ? &options.key_file
                          : name == "user"          ? &options.user
                          : name == "password-file" ? &options.password_file
                                                    : nullptr;
    if (target == nullptr) return bad(url, "there is no option '" + std::string(name) + "'");
    if (value.empty() || !seen.insert(name).second)
      return bad(url, "the option '" + std::string(name) + "' needs one value");
    *target = value;
  }
  if (options.cert_file.empty() != options.key_file.empty()) return bad(url, "cert and key go together");
  if (!options.cert_file.empty() && options.ca_file.empty()) return bad(url, "cert and key need ca");
  if (options.user.empty() != options.password_file.empty()) return bad(url, "user and password-file go together");
  return options;
}

Result<Secrets> read_secrets(const Options& options) {
  Secrets secrets;
  ASSIGN_OR_RETURN(secrets.ca, read_file(options.ca_file));
  ASSIGN_OR_RETURN(secrets.cert, read_file(options.cert_file));
  ASSIGN_OR_RETURN(secrets.key, read_file(options.key_file));
  ASSIGN_OR_RETURN(secrets.password, read_file(options.password_file));
  secrets.password.resize(std::min(secrets.password.find_first_of("\r\n"), secrets.password.size()));
  return secrets;
}

}  // namespace outlast::etcd
