// range verify: replicas compared byte for byte at one LSN.
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <mutex>
#include <thread>

#include "cli/range.h"
#include "cli/table.h"
#include "rpc/client.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;

struct VerifyOptions {
  std::string host{"127.0.0.1:26258"}, format{"table"}, range;
  Duration timeout{60s};
  std::int64_t parallel{4};
};

/// What came of one range.
struct Verified {
  proto::RangeStatus range;
  proto::VerifyRangeReply reply;
  std::string error;  ///< Nothing was compared.
  bool differs() const {
    return std::any_of(reply.replicas().begin(), reply.replicas().end(),
                       [](const proto::ReplicaDigest& d) { return d.differs(); });
  }
  /// Nothing differs, and still not every in-sync replica was compared. A learner may well be behind.
  bool incomplete() const {
    return !error.empty() ||
           std::any_of(reply.replicas().begin(), reply.replicas().end(),
                       [](const proto::ReplicaDigest& d) { return !d.error().empty() && !d.learner(); });
  }
};

Verified verify(rpc::AdminClient& client, const proto::RangeStatus& range, Duration timeout) {
  Verified out;
  out.range = range;
  auto reply = client.verify_range(RangeId(range.range()), timeout);
  if (!reply.ok())
    out.error = reply.error().message;
  else
    out.error = reply->error(), out.reply = *std::move(reply);
  return out;
}

/// "compared 120 of 1000 ranges, 0 differ" on stderr, at most twice a second, and only for people.
class Progress {
 public:
  explicit Progress(std::size_t all) : all_(all), shown_(isatty(STDERR_FILENO) != 0 && all > 1) {}
  void step(bool differs) {
    const std::lock_guard lock(mutex_);
    ++done_;
    differ_ += differs ? 1 : 0;
    const auto now = std::chrono::steady_clock::now();
    if (!shown_ || (done_ < all_ && now - last_ < 500ms)) return;
    last_ = now;
    std::fprintf(stderr, "\rcompared %zu of %zu ranges, %zu differ%s", done_, all_, differ_, done_ == all_ ? "\n" : "");
  }

 private:
  std::mutex mutex_;
  const std::size_t all_;
  const bool shown_;
  std::size_t done_{0}, differ_{0};
  std::chrono::steady_clock::time_point last_{};
};

std::vector<Verified> verify_all(const VerifyOptions& o, const std::vector<proto::RangeStatus>& ranges) {
  rpc::AdminClient client(o.host);
  std::vector<Verified> results(ranges.size());
  std::atomic<std::size_t> next{0};
  Progress progress(ranges.size());
  const auto work = [&] {
    for (std::size_t i; (i = next++) < ranges.size();) {
      results[i] = verify(client, ranges[i], o.timeout);
      progress.step(results[i].differs());
    }
  };
  std::vector<std::jthread> threads;
  const auto count = std::min<std::size_t>(static_cast<std::size_t>(o.parallel), ranges.size());
  for (std::size_t i = 0; i < count; ++i) threads.emplace_back(work);
  threads.clear();
  return results;
}

std::string verdict(const Verified& v) {
  return v.differs() ? "differs" : v.incomplete() ? "not compared" : "equal";
}

void print_json(const std::vector<Verified>& all) {
  boost::json::array out;
  for (const Verified& v : all) {
    boost::json::array replicas;
    for (const proto::ReplicaDigest& d : v.reply.replicas())
      replicas.push_back(boost::json::object{{"node", d.node()},
                                             {"learner", d.learner()},
                                             {"lsn", d.lsn()},
                                             {"crc", d.crc()},
                                             {"size_bytes", d.file_size()},
                                             {"differs", d.differs()},
                                             {"error", d.error()}});
    out.push_back(boost::json::object{{"id", v.range.range()},
                                      {"database", v.range.database()},
                                      {"verdict", verdict(v)},
                                      {"lsn", v.reply.lsn()},
                                      {"epoch", v.reply.epoch()},
                                      {"error", v.error},
                                      {"replicas", std::move(replicas)}});
  }
  std::puts(boost::json::serialize(out).c_str());
}

void print_rows(const std::vector<Verified>& all, const std::string& format) {
  Table table({"database", "range", "node", "lsn", "crc32c", "size", "verdict"});
  for (const Verified& v : all) {
    if (!v.error.empty()) table.add({v.range.database(), std::to_string(v.range.range()), "-", "-", "-", "-", v.error});
    for (const proto::ReplicaDigest& d : v.reply.replicas()) {
      char crc[16];
      std::snprintf(crc, sizeof crc, "%08x", d.crc());
      const bool read = d.error().empty() && v.error.empty();
      table.add({v.range.database(), std::to_string(v.range.range()), std::to_string(d.node()),
                 read ? std::to_string(d.lsn()) : "-", read ? crc : "-", read ? std::to_string(d.file_size()) : "-",
                 !d.error().empty() ? d.error()
                 : d.differs()      ? "DIFFERS"
                 : read             ? "equal"
                                    : "not read"});
    }
  }
  table.print(format);
}

int verify_ranges(const VerifyOptions& o) {
  const auto ranges = find_ranges(o.host, o.range, {});
  if (!ranges.ok()) return fail_with(ranges.error());
  const std::vector<Verified> results = verify_all(o, *ranges);
  if (o.format == "json")
    print_json(results);
  else
    print_rows(results, o.format);
  std::size_t different = 0, incomplete = 0;
  for (const Verified& v : results) {
    different += v.differs() ? 1 : 0;
    incomplete += !v.differs() && v.incomplete() ? 1 : 0;
    for (const proto::ReplicaDigest& d : v.reply.replicas())
      if (d.differs())
        std::fprintf(stderr, "outlast: range %llu (%s): the replica on node %u differs at LSN %llu\n",
                     static_cast<unsigned long long>(v.range.range()), v.range.database().c_str(), d.node(),
                     static_cast<unsigned long long>(d.lsn()));
  }
  std::fprintf(stderr, "%zu ranges: %zu equal, %zu differ, %zu not compared\n", results.size(),
               results.size() - different - incomplete, different, incomplete);
  if (different > 0) return kVerdictNegative;
  return incomplete > 0 ? kFailed : kDone;
}

}  // namespace

void add_range_verify(Commands& all) {
  auto o = std::make_shared<VerifyOptions>();
  all.push_back(
      {.path = "range verify",
       .summary = "Compare the replicas of ranges byte for byte, each range at one LSN",
       .details = "Reads each database file where it lies and compares checksums; reads and writes of clients go on,\n"
                  "but the writes of a range wait while its leaseholder's file is read. The replica outside the\n"
                  "majority is named. A replica that was damaged on disk is healed by removing it: placement builds a\n"
                  "new one.\n\n"
                  "Exit code: 0 all equal, 3 a replica differs, 1 something could not be compared.",
       .options = {{.name = "RANGE",
                    .value_name = "RANGE",
                    .target = &o->range,
                    .help = "number of a range or name of a database; all when left out"},
                   host_option(o->host),
                   format_option(o->format),
                   {.name = "--timeout", .value_name = "TIME", .target = &o->timeout, .help = "for one range"},
                   {.name = "--parallel",
                    .value_name = "N",
                    .target = &o->parallel,
                    .help = "ranges compared at once",
                    .min = 1,
                    .max = 64}},
       .run = [o] { return verify_ranges(*o); }});
}

}  // namespace outlast::cli
