#include "server/metrics.h"

#include <dirent.h>
#include <prometheus/metric_family.h>
#include <prometheus/text_serializer.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <sstream>

namespace outlast::server {

std::string Metrics::text() const {
  std::vector<Sample> samples;
  for (const SampleSource& source : sources_) source(samples);
  std::map<std::string, prometheus::MetricFamily> families;
  for (Sample& sample : samples) {
    prometheus::MetricFamily& family = families[sample.name];
    family.name = sample.name;
    family.help = sample.help;
    family.type = sample.counter ? prometheus::MetricType::Counter : prometheus::MetricType::Gauge;
    prometheus::ClientMetric metric;
    for (auto& [name, value] : sample.labels) metric.label.push_back({name, value});
    metric.counter.value = metric.gauge.value = sample.value;
    family.metric.push_back(std::move(metric));
  }
  std::vector<prometheus::MetricFamily> list;
  for (auto& [name, family] : families) list.push_back(std::move(family));
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, list);
  return out.str();
}

void process_samples(std::vector<Sample>& out) {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  out.push_back(
      {"process_cpu_seconds_total", "CPU time used", true, seconds(usage.ru_utime) + seconds(usage.ru_stime), {}});
  std::ifstream statm("/proc/self/statm");
  double pages = 0, resident = 0;
  if (statm >> pages >> resident)
    out.push_back({"process_resident_memory_bytes",
                   "Resident memory",
                   false,
                   resident * static_cast<double>(sysconf(_SC_PAGESIZE)),
                   {}});
  double fds = 0;
  if (DIR* dir = opendir("/proc/self/fd"); dir != nullptr) {
    while (readdir(dir) != nullptr) ++fds;
    closedir(dir);
    out.push_back({"process_open_fds", "Open file descriptors", false, fds - 3, {}});
  }
}

}  // namespace outlast::server
