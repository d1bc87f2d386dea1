#pragma once
#include <boost/asio/awaitable.hpp>
#include <optional>
#include <string>

#include "sql/session/session_state.h"

namespace outlast::sql {

/// What a start-up came to.
enum class StartupEnd : std::uint8_t {
  kReady,   ///< state.user and state.gateway are set; ReadyForQuery is the caller's.
  kClosed,  ///< Answered or not, the connection ends here.
  kEnded,   ///< The wait for the client was ended, or the session is to leave: the bytes so far are still in state.io.
};

/// From the first byte to the last ParameterStatus: SSLRequest and GSSENCRequest ('N' for now), CancelRequest, version
/// negotiation, refusals, session variables, database. Bytes that no PostgreSQL client sends end the connection without
/// an answer. Authentication is trust until SCRAM comes; its place is between admission and the variables.
/// Thread-safety: the session's strand.
class Startup {
 public:
  explicit Startup(SessionState& state) : s_(state) {}
  boost::asio::awaitable<StartupEnd> run();

 private:
  boost::asio::awaitable<std::optional<pgwire::StartupPacket>> read_packet();
  void tell_waiting();
  void cancel(const pgwire::CancelRequest& request);
  boost::asio::awaitable<StartupEnd> begin_session(pgwire::StartupMessage message);
  boost::asio::awaitable<StartupEnd> refuse(Error error, std::string sqlstate);
  boost::asio::awaitable<StartupEnd> refuse_version(std::uint16_t major, std::uint16_t minor);
  boost::asio::awaitable<Result<void>> open_database(std::string wanted, bool named_after_user);
  void negotiate(const pgwire::StartupMessage& message);
  Result<void> apply_parameters(const pgwire::StartupMessage& message);
  void read_limits();

  SessionState& s_;
  bool ended_{false};  ///< See StartupEnd::kEnded.
};

}  // namespace outlast::sql
