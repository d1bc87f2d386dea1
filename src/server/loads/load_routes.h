#pragma once
#include <memory>
#include <optional>
#include <string>

#include "server/loads/load_api.h"
#include "server/loads/load_transactions.h"

namespace outlast::server {

/// What the load routes of one server share.
struct LoadRoutes {
  LoadPorts ports;
  LoadTransactions transactions;
};
using LoadRoutesPtr = std::shared_ptr<LoadRoutes>;
void add_transaction_routes(http::Server& server, LoadRoutesPtr shared);

http::Response to_response(const StreamLoadAnswer& answer, int status = 200);
StreamLoadAnswer failed(const Error& error, const std::string& label);
/// Of a load that is past its commit point.
StreamLoadAnswer answer_of_end(const loads::Label& label);
/// A load that belongs elsewhere: 307 to `address`, or when there is none 503 with the advice to try again.
http::Response send_elsewhere(const http::Request& request, const std::string& address, const std::string& why);
/// Nothing when this node takes the load, `ticket` being its ticket; else the answer.
std::optional<http::Response> refuse(const LoadRoutes& shared, const http::Request& request, lifecycle::Ticket& ticket);

}  // namespace outlast::server
