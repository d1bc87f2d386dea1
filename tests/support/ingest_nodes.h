#pragma once
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "support/restarts.h"

namespace outlast::testing_support {

/// The numbers in texts such as "n=17", by the words in front of them.
using Numbers = std::map<std::string, std::vector<long>>;
Numbers numbers_in(const std::string& text);

/// A node that takes in numbered records, and goes through restarts meanwhile.
class IngestNodes : public RestartsTest {
 protected:
  /// A sink into table logs, into which records go at once.
  static std::string table_sink();
  /// [[input]] with this name, which is its tag, on a port of the kernel's choice. `listen`: "udp://127.0.0.1", of its
  /// own for each input. `more`: lines.
  static std::string input(const std::string& type, const std::string& name, const std::string& listen,
                           const std::string& more = "");

  /// What the next start or restart reads.
  void configure(const std::string& config);
  /// One node with this configuration, of another program than outlast if need be.
  void start_with(const std::string& config, const std::string& program = "");

  /// What GET /api/ingest says of an input or a sink; empty when nobody answers or there is none.
  boost::json::object input_status(const std::string& name) { return status("inputs", name); }
  boost::json::object sink_status(const std::string& name) { return status("sinks", name); }
  int port(const std::string& input);

  /// The restart is complete, and the kernel dropped nothing meanwhile.
  static void expect_completed(const boost::json::object& receipt);
  /// How often each numbered record of an input is in table logs.
  Numbers stored(const std::string& input);
  /// 0 to sent - 1 come to be there, each once; `word` stands in front of the numbers.
  void expect_stored(const std::string& input, long sent, const std::string& word = "n");
  /// The same of a text that is read again and again.
  void expect_all_once(const std::string& what, long sent, const std::function<std::vector<long>()>& read);

 private:
  boost::json::object status(const std::string& list, const std::string& name);
};

}  // namespace outlast::testing_support
