#pragma once
#include <zlib.h>
#include <zstd.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>

#include "ingest/input/http.h"
#include "ingest/input/test_intake.h"

namespace outlast::ingest {

inline std::string gzip(std::string_view text) {
  z_stream stream{};
  deflateInit2(&stream, 9, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, text.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

inline std::string zstd(std::string_view text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

struct Reply {
  int status{0};
  std::string headers, body;
};

// One answer from the connection; what comes behind it stays in `rest`.
inline Reply next_reply(TestClient& client, std::string& rest) {
  Reply out;
  std::size_t end;
  while ((end = rest.find("\r\n\r\n")) == std::string::npos) {
    const std::string more = client.receive();
    if (more.empty()) return out;
    rest += more;
  }
  out.headers = rest.substr(0, end);
  out.status = std::atoi(out.headers.c_str() + 9);
  rest.erase(0, end + 4);
  const std::size_t at = out.headers.find("Content-Length: ");
  const std::size_t length = at == std::string::npos ? 0 : std::strtoul(out.headers.c_str() + at + 16, nullptr, 10);
  while (rest.size() < length) rest += client.receive();
  out.body = rest.substr(0, length);
  rest.erase(0, length);
  return out;
}

inline std::string post(std::string_view body, std::string_view type = "application/x-ndjson",
                        std::string_view more = "") {
  return "POST /logs HTTP/1.1\r\nHost: x\r\nContent-Type: " + std::string(type) + "\r\n" + std::string(more) +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + std::string(body);
}

/// One input on a port of its own.
class HttpInputTest : public testing::Test {
 protected:
  HttpInputTest() {
    options_.name = "test";
    options_.tag = "app.http";
    options_.listen = {"http", "127.0.0.1", 0};
    options_.body_max = 1 << 20;
    options_.unpacked_max = 2 << 20;
  }
  void start() {
    input_ = std::make_unique<HttpInput>(options_, intake_);
    ASSERT_TRUE(input_->start().ok());
  }
  Reply ask(const std::string& request) {
    TestClient client(SOCK_STREAM, input_->port());
    client.send(request);
    std::string rest;
    return next_reply(client, rest);
  }
  TestIntake intake_;
  InputOptions options_;
  std::unique_ptr<HttpInput> input_;
};

}  // namespace outlast::ingest
