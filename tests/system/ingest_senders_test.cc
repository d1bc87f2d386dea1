// Programs that others have written send records through restarts: logger, nc, rsyslog, syslog-ng. None of them sees
// its connection break, and what they send is there once, UDP included.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>

#include "support/ingest_nodes.h"
#include "support/sending_program.h"

namespace outlast {
namespace {
using testing_support::NumberFeed;
using testing_support::SendingProgram;
using testing_support::unpacked;

constexpr int kRestarts = 4;

/// A Unix datagram socket, as programs have it to their machine's logger. It waits while that one is busy.
class LogSocket {
 public:
  explicit LogSocket(const std::string& path) : fd_(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    path.copy(to.sun_path, sizeof to.sun_path - 1);
    connected_ = connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0;
  }
  ~LogSocket() { close(fd_); }
  bool connected() const { return connected_; }
  void say(const std::string& text) const {
    const std::string record = "<13>Jan  2 03:04:05 app: " + text;
    send(fd_, record.data(), record.size(), MSG_NOSIGNAL);
  }

 private:
  int fd_;
  bool connected_{false};
};

/// In a folder that is called as the machine's architecture is.
std::string rsyslog_modules() {
  for (const auto& folder : std::filesystem::directory_iterator(unpacked("rsyslog", "/usr/lib")))
    if (std::filesystem::exists(folder.path() / "rsyslog")) return folder.path() / "rsyslog";
  return "";
}

class IngestSenders : public testing_support::IngestNodes {
 protected:
  void start() {
    start_with(input("syslog", "syslogudp", "udp://127.0.0.1") + input("syslog", "syslogtcp", "tcp://127.0.0.1") +
               input("syslog", "counted", "tcp://127.0.0.2", "framing = \"octet-counted\"") +
               input("udp", "udp", "udp://127.0.0.2") + input("tcp", "tcp", "tcp://127.0.0.3") + table_sink());
    for (const char* name : {"syslogudp", "syslogtcp", "counted", "udp", "tcp"})
      ports_[name] = std::to_string(port(name));
  }
  const std::string& port_of(const std::string& input) { return ports_.at(input); }

  struct Program {
    std::string input, word;
    std::vector<std::string> command;
  };
  /// Feeds the programs through restarts, and looks for what they sent.
  void send_through_restarts(const std::vector<Program>& all) {
    std::vector<std::unique_ptr<SendingProgram>> running;
    std::vector<NumberFeed::To> to;
    for (const Program& one : all) {
      running.push_back(std::make_unique<SendingProgram>(one.command));
      to.push_back({one.word, [program = running.back().get()](const std::string& text) { program->write(text); }});
    }
    for (std::size_t i = 0; i < all.size(); ++i)
      wait("the connection of " + all[i].word, [&] { return running[i]->sockets().size() == 1; });
    std::vector<std::set<std::string>> before;
    for (const auto& program : running) before.push_back(program->sockets());
    NumberFeed feed(std::move(to));
    for (int i = 0; i < kRestarts; ++i) expect_completed(restart());
    const long sent = feed.stop();
    for (std::size_t i = 0; i < all.size(); ++i) {
      EXPECT_TRUE(running[i]->running()) << all[i].word;
      EXPECT_EQ(running[i]->sockets(), before[i]) << all[i].word << " had to connect again";
      expect_stored(all[i].input, sent, all[i].word);
    }
  }
  /// A daemon that forwards what comes from its Unix socket to "syslogudp", "syslogtcp" and "counted".
  void forward_through_restarts(const SendingProgram& daemon, const std::string& socket) {
    wait("the connections of " + socket, [&] {
      return daemon.running() && LogSocket(socket).connected() &&
             connections("syslogtcp") + connections("counted") == 2;
    });
    const LogSocket log(socket);
    NumberFeed feed({{"n", [&](const std::string& text) { log.say(text); }}});
    wait("the first records", [&] { return feed.said() > 10; });
    const auto before = daemon.sockets();
    for (int i = 0; i < kRestarts; ++i) expect_completed(restart());
    const long sent = feed.stop();
    EXPECT_EQ(daemon.sockets(), before) << "it had to connect again";
    for (const char* input : {"syslogudp", "syslogtcp", "counted"}) expect_stored(input, sent);
    EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM logs WHERE error IS NOT NULL"), "0");
  }

 private:
  int connections(const std::string& input) { return input_status(input).at("connections").to_number<int>(); }
  std::map<std::string, std::string> ports_;
};

TEST_F(IngestSenders, LoggerAndNetcat) {
  ASSERT_NO_FATAL_FAILURE(start());
  const auto logger = [&](const std::string& input, const std::string& word, const std::string& host,
                          std::vector<std::string> options) -> Program {
    options.insert(options.begin(), {"logger", "-n", host, "-P", port_of(input), "-t", "app"});
    return {input, word, std::move(options)};
  };
  const std::vector<Program> programs = {
      logger("syslogudp", "logger5424udp", "127.0.0.1", {"-d", "--rfc5424"}),
      logger("syslogudp", "logger3164udp", "127.0.0.1", {"-d", "--rfc3164"}),
      logger("syslogtcp", "logger5424tcp", "127.0.0.1", {"-T", "--rfc5424"}),
      logger("syslogtcp", "logger3164tcp", "127.0.0.1", {"-T", "--rfc3164"}),
      logger("syslogtcp", "logger5424auto", "127.0.0.1", {"-T", "--rfc5424", "--octet-count"}),
      logger("counted", "logger3164counted", "127.0.0.2", {"-T", "--rfc3164", "--octet-count"}),
      {"udp", "netcatudp", {"nc", "-u", "127.0.0.2", port_of("udp")}},
      {"tcp", "netcattcp", {"nc", "127.0.0.3", port_of("tcp")}}};
  send_through_restarts(programs);
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM logs WHERE error IS NOT NULL"), "0");
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(DISTINCT fields ->> 'app_name') FROM logs WHERE tag LIKE 'syslog%'"),
            "1");
}

TEST_F(IngestSenders, Rsyslog) {
  const std::string program = unpacked("rsyslog", "/usr/sbin/rsyslogd");
  ASSERT_TRUE(std::filesystem::exists(program)) << "./dev test unpacks it";
  ASSERT_NO_FATAL_FAILURE(start());
  const std::string config = dir() + "/rsyslog.conf", socket = dir() + "/rsyslog.socket";
  const std::string to = R"(template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1" )";
  std::ofstream(config) << "global(workDirectory=\"" << dir() << "\")\n"
                        << "module(load=\"imuxsock\" SysSock.Use=\"off\")\n"
                        << "input(type=\"imuxsock\" Socket=\"" << socket << "\" RateLimit.Interval=\"0\")\n"
                        << "action(type=\"omfwd\" target=\"127.0.0.1\" protocol=\"udp\" " << to << "port=\""
                        << port_of("syslogudp") << "\")\n"
                        << "action(type=\"omfwd\" target=\"127.0.0.1\" protocol=\"tcp\" " << to << "port=\""
                        << port_of("syslogtcp") << "\" TCP_Framing=\"traditional\")\n"
                        << "action(type=\"omfwd\" target=\"127.0.0.2\" protocol=\"tcp\" " << to << "port=\""
                        << port_of("counted") << "\" TCP_Framing=\"octet-counted\")\n";
  const SendingProgram daemon({program, "-n", "-f", config, "-i", dir() + "/rsyslog.pid", "-M" + rsyslog_modules()});
  wait("rsyslog's socket", [&] { return LogSocket(socket).connected(); });
  LogSocket(socket).say("it connects when there is something to send");
  forward_through_restarts(daemon, socket);
}

TEST_F(IngestSenders, SyslogNg) {
  const std::string program = unpacked("syslog-ng-core", "/usr/sbin/syslog-ng");
  ASSERT_TRUE(std::filesystem::exists(program)) << "./dev test unpacks it";
  ASSERT_NO_FATAL_FAILURE(start());
  const std::string config = dir() + "/syslog-ng.conf", socket = dir() + "/syslog-ng.socket";
  std::ofstream(config) << "@version: 3.38\noptions { stats_freq(0); use_dns(no); dns_cache(no); };\n"
                        << "source s { unix-dgram(\"" << socket << "\"); };\n"
                        << "destination udp { network(\"127.0.0.1\" port(" << port_of("syslogudp")
                        << ") transport(\"udp\")); };\n"
                        << "destination tcp { network(\"127.0.0.1\" port(" << port_of("syslogtcp")
                        << ") transport(\"tcp\")); };\n"
                        << "destination counted { syslog(\"127.0.0.2\" port(" << port_of("counted")
                        << ") transport(\"tcp\")); };\n"
                        << "log { source(s); destination(udp); destination(tcp); destination(counted); };\n";
  const SendingProgram daemon(
      {program, "-F", "--no-caps", "-f", config, "-R", dir() + "/persist", "-c", dir() + "/control", "-p",
       dir() + "/syslog-ng.pid", "--module-path=" + unpacked("syslog-ng-core", "/usr/lib/syslog-ng/3.38")},
      {"LD_LIBRARY_PATH=" + unpacked("syslog-ng-core", "/usr/lib/syslog-ng")});
  forward_through_restarts(daemon, socket);
}

}  // namespace
}  // namespace outlast
