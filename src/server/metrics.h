#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace outlast::server {

/// One number of /metrics.
struct Sample {
  std::string name;  ///< Prometheus name, "outlast_sql_statements_total".
  std::string help;
  bool counter{false};
  double value{0};
  std::vector<std::pair<std::string, std::string>> labels;
};
using SampleSource = std::function<void(std::vector<Sample>&)>;

/// The text of /metrics, in Prometheus' exposition format; sources are read at each call.
class Metrics {
 public:
  void add(SampleSource source) { sources_.push_back(std::move(source)); }
  std::string text() const;

 private:
  std::vector<SampleSource> sources_;
};

/// CPU seconds, resident bytes, open file descriptors and threads of this process.
void process_samples(std::vector<Sample>& out);

}  // namespace outlast::server
