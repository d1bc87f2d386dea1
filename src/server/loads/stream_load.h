#pragma once
#include <boost/asio/awaitable.hpp>
#include <memory>
#include <string>

#include "http/server.h"
#include "loads/load.h"
#include "server/loads/row_reader.h"

namespace outlast::server {

/// What a request says about its load, in StarRocks' headers.
struct StreamLoadRequest {
  loads::LoadOptions options;
  LoadFormat format;
};
/// kInvalidArgument names the header and what may stand there.
Result<StreamLoadRequest> read_stream_load(const http::Request& request, std::string database, std::string table);

/// The body into an open load; rows that cannot be read end it, unless it filters. kDeadline when its time is over.
boost::asio::awaitable<Result<void>> feed_load(StreamLoadRequest request, loads::Load* load, http::BodyStream* body);

/// StarRocks' words for a load's answer.
struct StreamLoadAnswer {
  std::string status{"Success"};  ///< Success | Label Already Exists | Publish Timeout | Fail.
  std::string message{"OK"};
  std::string existing;  ///< FINISHED | RUNNING: of the load that has the label.
  loads::Label label;
  std::int64_t millis{0};
};
std::string to_json(const StreamLoadAnswer& answer);
StreamLoadAnswer answer_of_existing(const loads::Label& existing);

}  // namespace outlast::server
