#include "cli/demo/bulk.h"

#include <fcntl.h>
#include <spdlog/fmt/fmt.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "cli/pg_connection.h"

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
namespace fs = std::filesystem;
constexpr auto kLimit = 60s;
constexpr int kDatabasesMax = 24;
constexpr std::uint64_t kRowBytes = 4000, kPartRows = 2000;

Result<PgReply> run(PgConnection& sql, const std::string& text) {
  PgReply reply = sql.run(text, kLimit);
  if (reply.ok) return reply;
  return Error(Errc::kUnavailable, fmt::format("\"{}\" failed: {} {}", text, reply.sqlstate, reply.message));
}

Result<void> fill(const BulkPlan& plan, PgConnection& sql) {
  TRY(run(sql, "CREATE TABLE bulk (id bigint PRIMARY KEY, filler text NOT NULL)"));
  for (std::uint64_t from = 1; from <= plan.rows; from += kPartRows)
    TRY(run(sql, fmt::format("INSERT INTO bulk SELECT i, repeat(lpad(i::text, 10, '0'), {}) FROM generate_series({}, "
                             "{}) AS g(i)",
                             kRowBytes / 10, from, std::min(plan.rows, from + kPartRows - 1))));
  return {};
}

/// What one statement says of all rows, so that nothing has to be sent: how many, and how many are as written.
Result<std::uint64_t> rows_right(const std::string& database, const std::string& url) {
  ASSIGN_OR_RETURN(PgConnection sql, PgConnection::connect(url, database, kLimit));
  ASSIGN_OR_RETURN(const PgReply reply,
                   run(sql, fmt::format("SELECT count(*) FROM bulk WHERE filler = repeat(lpad(id::text, 10, '0'), {})",
                                        kRowBytes / 10)));
  if (reply.rows.size() != 1 || reply.rows[0].size() != 1)
    return Error(Errc::kProtocolViolation, "a count has one row");
  return std::strtoull(reply.rows[0][0].value_or("0").c_str(), nullptr, 10);
}

Result<void> sync_file(const std::string& path) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  if (fd >= 0) ::close(fd);
  if (synced) return {};
  return Error(Errc::kIo, "cannot sync " + path + ": check the space left");
}

Result<void> write_source(const std::string& path, std::uint64_t bytes) {
  std::ofstream file(path, std::ios::binary);
  std::string block(1 << 16, '\0');
  for (std::uint64_t done = 0; done < bytes; done += block.size()) {
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<char>((done + i) * 2'654'435'761U >> 13);
    file.write(block.data(), static_cast<std::streamsize>(std::min<std::uint64_t>(block.size(), bytes - done)));
  }
  file.close();
  if (!file) return Error(Errc::kIo, "cannot write " + path + ": check the space left");
  return sync_file(path);
}

Result<double> copy_once(const std::string& dir, std::uint64_t files) {
  const auto began = std::chrono::steady_clock::now();
  for (std::uint64_t i = 0; i < files; ++i) {
    const std::string source = fmt::format("{}/source{}", dir, i), copy = fmt::format("{}/copy{}", dir, i);
    std::error_code ec;
    fs::copy_file(source, copy, ec);
    if (ec) return Error(Errc::kIo, fmt::format("cannot copy {}: {}", source, ec.message()));
    TRY(sync_file(copy));
  }
  const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  std::error_code ignored;
  for (std::uint64_t i = 0; i < files; ++i) fs::remove(fmt::format("{}/copy{}", dir, i), ignored);
  return took;
}

Result<double> copy_often(const std::string& dir, std::uint64_t bytes, std::uint64_t files) {
  for (std::uint64_t i = 0; i < files; ++i) TRY(write_source(fmt::format("{}/source{}", dir, i), bytes / files));
  std::vector<double> took;
  for (int i = 0; i < 3; ++i) {
    ASSIGN_OR_RETURN(const double once, copy_once(dir, files));
    took.push_back(once);
  }
  std::ranges::sort(took);
  return took[1];
}
}  // namespace

BulkPlan bulk_plan(std::uint64_t bytes) {
  BulkPlan plan{.databases = kDatabasesMax};
  plan.rows = std::max<std::uint64_t>(1, bytes / kRowBytes / static_cast<std::uint64_t>(plan.databases));
  return plan;
}

Result<void> bulk_fill(const BulkPlan& plan, const std::string& url) {
  ASSIGN_OR_RETURN(PgConnection any, PgConnection::connect(url, "", kLimit));
  for (int i = 0; i < plan.databases; ++i) {
    TRY(run(any, "CREATE DATABASE " + plan.database(i)));
    ASSIGN_OR_RETURN(PgConnection sql, PgConnection::connect(url, plan.database(i), kLimit));
    if (auto filled = fill(plan, sql); !filled.ok()) return std::move(filled.error()).within(plan.database(i));
  }
  return {};
}

Result<BulkCheck> bulk_check(const BulkPlan& plan, const std::string& url) {
  BulkCheck all;
  for (int i = 0; i < plan.databases; ++i) {
    ASSIGN_OR_RETURN(const std::uint64_t right, rows_right(plan.database(i), url));
    all.rows += plan.rows;
    all.wrong += right > plan.rows ? right - plan.rows : plan.rows - right;
  }
  return all;
}

Result<double> time_of_copy(const std::string& dir, std::uint64_t bytes, std::uint64_t files) {
  const std::string folder = dir + "/copy";
  std::error_code ec;
  fs::create_directory(folder, ec);
  if (ec || files == 0) return Error(Errc::kIo, "there is nothing to copy, or no place for it in " + dir);
  auto took = copy_often(folder, bytes, files);
  fs::remove_all(folder, ec);
  return took;
}

}  // namespace outlast::cli
