#include "handover/restart_log.h"

#include <boost/json.hpp>
#include <fstream>
#include <iterator>

#include "handover/atomic_file.h"

namespace outlast::handover {
namespace json = boost::json;
namespace {
constexpr std::string_view kName = "RESTARTS.json";

std::uint64_t id_of(const json::object& object, std::string_view key) {
  const json::value* const id = object.if_contains(key);
  return id != nullptr && id->is_number() ? id->to_number<std::uint64_t>() : 0;
}
}  // namespace

RestartLog::RestartLog(std::string folder) : folder_(std::move(folder)) {
  if (!folder_.empty()) read();
}

void RestartLog::read() {
  std::ifstream in(folder_ + "/" + std::string(kName));
  const std::string text((std::istreambuf_iterator<char>(in)), {});
  boost::system::error_code error;
  const json::value file = json::parse(text, error);
  if (error || !file.is_object()) return;
  try {
    last_id_ = id_of(file.as_object(), "last_id");
    for (const json::value& receipt : file.at("receipts").as_array())
      receipts_.push_back({id_of(receipt.as_object(), "id"), json::serialize(receipt)});
  } catch (const std::exception&) {
    receipts_.clear();  // somebody wrote in it
  }
}

Result<void> RestartLog::note_id(std::uint64_t id) {
  if (id <= last_id_) return {};
  last_id_ = id;
  return write();
}

Result<void> RestartLog::add(std::uint64_t id, const std::string& receipt) {
  last_id_ = std::max(last_id_, id);
  if (!receipts_.empty() && receipts_.back().id == id) receipts_.pop_back();
  receipts_.push_back({id, receipt});
  while (receipts_.size() > kReceiptsMax) receipts_.pop_front();
  return write();
}

Result<void> RestartLog::write() const {
  if (folder_.empty()) return {};
  std::string text = "{\"last_id\":" + std::to_string(last_id_) + ",\"receipts\":[";
  for (const Kept& kept : receipts_) text.append(&kept == &receipts_.front() ? "\n" : ",\n").append(kept.json);
  return replace_file(folder_ + "/" + std::string(kName), text + "\n]}\n");
}

}  // namespace outlast::handover
