#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace outlast::testing {

/// One word of a script line: a bare word or a "quoted string" with \n \t \\ \" \0 and \xHH.
struct Word {
  std::string text;
  bool quoted{false};
};
Result<std::vector<Word>> split_words(std::string_view line);

/// The bytes of the frontend message that a script line names, e.g. `Parse "s" "select $1" 23`. See README.md.
Result<std::string> encode_message(const std::vector<Word>& words);

/// What a connection sends instead of its start-up to end the statement of another one.
std::string cancel_request(std::int32_t pid, std::string_view key);

struct BackendMessage {
  char type{0};
  std::string body;
  /// One line of text, as scripts expect it: `DataRow "1" null`, `ErrorResponse ERROR 42601`.
  std::string to_line() const;
  std::string_view name() const;
};

/// A blocking client that speaks raw messages. Reads give up after 10 s.
class WireClient {
 public:
  WireClient() = default;
  explicit WireClient(int fd);  ///< Takes a connection over that is past its start-up.
  ~WireClient();
  WireClient(WireClient&& other) noexcept : fd_(std::exchange(other.fd_, -1)), buffer_(std::move(other.buffer_)) {}
  WireClient& operator=(WireClient&&) = delete;
  Result<void> connect(const std::string& host, int port);
  /// Start-up until ReadyForQuery, its replies dropped.
  Result<void> start(const std::string& user, const std::string& database);
  Result<void> send(std::string_view bytes);
  /// nullopt: the server closed the connection.
  Result<std::optional<BackendMessage>> read();
  /// Bytes without framing, as many as come first; empty when the server closed.
  Result<std::string> read_raw(std::size_t n);
  std::int32_t pid{0};
  std::string key;
  int fd() const { return fd_; }
  void close();

 private:
  Result<bool> fill();
  int fd_{-1};
  std::string buffer_;
};

}  // namespace outlast::testing
