// Records into a table that is partitioned by their time, and its TTL.
#include <sys/socket.h>
#include <unistd.h>

#include <string>

#include "cli/http_get.h"
#include "support/http_sender.h"
#include "support/ingest_nodes.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;

class IngestPartitionedTest : public testing_support::IngestNodes {
 protected:
  /// One request with these lines; the status of its answer, 0 when there was none.
  int post(const std::string& lines) {
    const int fd = testing_support::connect_to(port("http"));
    const std::string request =
        "POST / HTTP/1.1\r\nHost: test\r\nContent-Type: application/x-ndjson\r\nConnection: close\r\nContent-Length: " +
        std::to_string(lines.size()) + "\r\n\r\n" + lines;
    std::string answer;
    if (fd >= 0 && send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
      char bytes[1024];
      for (ssize_t count = 0; (count = recv(fd, bytes, sizeof bytes, 0)) > 0;)
        answer.append(bytes, static_cast<std::size_t>(count));
    }
    if (fd >= 0) close(fd);
    const auto parsed = cli::parse_http_answer(answer);
    return parsed.ok() ? parsed->status : 0;
  }
  /// First keys of the table's partitions.
  std::vector<std::string> partitions() {
    auto connection = connect(0);
    std::vector<std::string> keys;
    for (const auto& row : must(connection, "SHOW PARTITIONS FROM logs").rows)
      if (row.at(3)) keys.push_back(*row.at(3));
    return keys;
  }
};

TEST_F(IngestPartitionedTest, RecordsGoToThePartitionOfTheirTimeAndOldPartitionsGo) {
  ASSERT_NO_FATAL_FAILURE(
      start_with(input("http", "http", "http://127.0.0.1", "parser = \"json\"\nack = \"stored\"") + table_sink()));
  auto main = connect(0);
  must(main,
       "CREATE TABLE logs (time timestamptz NOT NULL, host text, tag text, fields json, error text) "
       "PARTITION BY RANGE (time) INTERVAL '1 day' TTL '300 days'");
  const std::string today = value(0, "defaultdb", "SELECT current_date");
  ASSERT_EQ(post("{\"time\":\"2024-01-05T08:00:00Z\",\"n\":1}\n{\"time\":\"" + today +
                 "T00:00:00Z\",\"n\":2}\n{\"time\":\"2024-01-05T23:59:59Z\",\"n\":3}\n"),
            200);
  const std::vector<std::string> both{"2024-01-05 00:00:00", today + " 00:00:00"};
  EXPECT_EQ(partitions(), both);
  ASSERT_EQ(post("{\"time\":\"2024-01-05T09:00:00Z\",\"n\":4}\n"), 200);
  EXPECT_EQ(partitions(), both) << "it has one already";

  must(main, "SET CLUSTER SETTING sql.ttl.interval = '100ms'");
  wait("the old partition's end", [&] { return partitions() == std::vector{both.back()}; });
  const auto gone = cluster().wait_until("its range's end", 10s, [&] { return cluster().ranges(0)->size() == 2; });
  EXPECT_TRUE(gone.ok()) << gone.error().message;
}

}  // namespace
}  // namespace outlast
