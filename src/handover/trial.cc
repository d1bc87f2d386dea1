#include "handover/trial.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace outlast::handover {
namespace json = boost::json;
namespace {
constexpr std::size_t kOutputMax = 64 * 1024;  ///< More is read and dropped, so that nobody blocks on it.

std::string last_line(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  if (const std::size_t at = text.rfind('\n'); at != std::string_view::npos) text.remove_prefix(at + 1);
  if (text.starts_with("outlast: ")) text.remove_prefix(9);
  return std::string(text.substr(0, 1000));
}
}  // namespace

outlast::Result<std::unique_ptr<Trial>> Trial::start(const std::vector<std::string>& argv) {
  std::unique_ptr<Trial> trial(new Trial);
  int out[2] = {-1, -1}, err[2] = {-1, -1};
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(err, O_CLOEXEC) != 0) {
    Error error(Errc::kUnavailable, std::string("cannot make a pipe: ") + std::strerror(errno));
    for (const int fd : {out[0], out[1]})
      if (fd >= 0) close(fd);
    return error;
  }
  trial->out_.fd = out[0];
  trial->err_.fd = err[0];
  for (const int fd : {out[0], err[0]}) fcntl(fd, F_SETFL, O_NONBLOCK);
  auto pid = spawn(argv[0], argv, 1, {out[1], err[1]});
  close(out[1]);
  close(err[1]);
  if (!pid.ok()) return std::move(pid).error();
  trial->process_.pid = *pid;
  trial->process_.pid_fd = open_pid_fd(*pid);
  return trial;
}

Trial::~Trial() {
  if (process_.pid != 0) kill_and_wait(process_);
  for (const Stream* stream : {&out_, &err_})
    if (stream->fd >= 0) close(stream->fd);
}

void Trial::Stream::read_some() {
  char bytes[4096];
  while (fd >= 0) {
    const ssize_t n = read(fd, bytes, sizeof bytes);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) {
      close(std::exchange(fd, -1));
      return;
    }
    text.append(bytes, std::min(static_cast<std::size_t>(n), kOutputMax - std::min(text.size(), kOutputMax)));
  }
}

std::optional<Trial::Result> Trial::look() {
  const std::optional<ChildEnd> end = ended(process_);  // first: what it wrote before is there then
  out_.read_some();
  err_.read_some();
  if (!end) return std::nullopt;
  process_.pid = 0;
  return judge(*end);
}

Trial::Result Trial::judge(const ChildEnd& end) const {
  if (!end.exited_with(0)) {
    const std::string said = last_line(err_.text);
    return {.refusal = said.empty() ? "the trial of the new binary " + to_string(end) + " and said nothing" : said,
            .report = {},
            .version = {}};
  }
  boost::system::error_code error;
  const json::value report = json::parse(out_.text, error);
  if (error || !report.is_object())
    return {.refusal = "the trial of the new binary did not print its report: is it an outlast of this kind?",
            .report = {},
            .version = {}};
  const json::value* const version = report.as_object().if_contains("version");
  return {.refusal = {},
          .report = json::serialize(report),
          .version = version != nullptr && version->is_string() ? std::string(version->as_string()) : ""};
}

}  // namespace outlast::handover
