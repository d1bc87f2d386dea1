#pragma once
#include <optional>
#include <string>

#include "ingest/input/body.h"
#include "ingest/input/http_delivery.h"
#include "ingest/input/http_request.h"
#include "ingest/input/unpack.h"

namespace outlast::ingest {

/// What the head of a request says about its body.
struct HttpContent {
  BodyFormat format{BodyFormat::kJson};
  Packing packing{Packing::kNone};
  HttpLabel label;

  /// Fills this in; or the answer to a request whose body we do not want.
  std::optional<HttpAnswer> read(const HttpRequest::Head& head, const InputOptions& options);
  /// Appends the records of a body, which is then unpacked; or what is wrong with it.
  std::optional<HttpAnswer> split(std::string& body, const InputOptions& options, std::string_view peer,
                                  RecordBatch& batch) const;
};

/// The answer to a request that cannot be read. Status 0: there is nobody to answer.
HttpAnswer unreadable(boost::system::error_code error, const InputOptions& options);

}  // namespace outlast::ingest
