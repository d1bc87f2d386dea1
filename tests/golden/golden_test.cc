// What earlier programs wrote is read by this one: see README.md, also for how the files are made.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/crc32c.h"
#include "proto/range.pb.h"
#include "replication/messages.h"
#include "storage/log_format.h"
#include "storage/replica_store.h"
#include "storage/sealed_file.h"
#include "storage/store_dir.h"
#include "storage/testing/local_range.h"
#include "tests/support/test_dir.h"

namespace outlast {
namespace {
namespace fs = std::filesystem;
using namespace storage;
using storage::testing::LocalSink;
using storage::testing::query;
using storage::testing::run_sql;

const char* const kVersions[] = {"v1"};

const std::string kUuid = "6f9a4c0e-2d8b-4f67-9c1a-0e5b7d3a1c42";
const ReplicaIdentity kSeven{RangeId(7), ReplicaId(3), kUuid}, kEight{RangeId(8), ReplicaId(2), kUuid},
    kNine{RangeId(9), ReplicaId(1), kUuid};
const LogPosition kSnapshotAt{Lsn(41), Epoch(4), 0x1234abcd};
constexpr std::uint64_t kSnapshotPages = 6, kSnapshotSynced = 3 * kPageBytes;
constexpr int kRows = 24;

StoreOptions small_segments() {
  StoreOptions options;
  options.log_segment_bytes = 64U << 10;
  return options;
}

placement::RangeConfig config(RangeId range, std::uint64_t epoch, std::uint64_t cfg) {
  placement::RangeConfig out;
  out.range = range;
  out.database = DatabaseId(5);
  out.epoch = Epoch(epoch);
  out.cfg = ConfigVersion(cfg);
  out.leaseholder = placement::Leaseholder{NodeId(2), Incarnation(17)};
  out.insync = {{NodeId(1), kUuid, ReplicaId(3)}, {NodeId(2), "store-2", ReplicaId(1)}};
  out.learners = {{NodeId(3), "store-3", ReplicaId(4)}};
  out.removed = {{NodeId(4), "store-4", ReplicaId(2)}};
  out.next_replica = ReplicaId(5);
  out.rf = 3;
  out.min_insync = 2;
  out.clean = false;
  return out;
}

std::string snapshot_bytes() {
  std::string out;
  for (std::uint64_t page = 0; page < kSnapshotPages; ++page)
    out += std::string(kPageBytes, static_cast<char>('a' + page));
  return out;
}

LogEntry sample_entry() {
  CommitPages commit;
  commit.db_pages = 2;
  commit.request = {0x1122334455667788, 42, 3, "UPDATE"};
  commit.pages = {{2, std::string(kPageBytes, 'p')}};
  LogEntry entry;
  entry.prev = {Lsn(10), Epoch(3), 77};
  entry.payload = encode(commit);
  entry.at = {Lsn(11), Epoch(4), entry_checksum(Lsn(11), Epoch(4), entry.prev, entry.payload)};
  return entry;
}

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

template <class T>
T must(Result<T> result) {
  if (!result.ok()) throw std::runtime_error(result.error().to_string());
  return std::move(result).value();
}
void must(Result<void> result) {
  if (!result.ok()) throw std::runtime_error(result.error().to_string());
}

// The generator.

void write_seven(ReplicaStore& replicas) {
  auto replica = must(replicas.create(kSeven));
  must(replica->record_config(config(RangeId(7), 1, 1)));
  LocalSink sink(*replica, Epoch(1));
  auto database = must(replica->open_database(sink));
  auto connection = must(database->connect());
  run_sql(*connection, "CREATE TABLE t (id INTEGER PRIMARY KEY, payload TEXT)");
  for (int i = 1; i <= kRows; ++i) {
    connection->set_request({99, static_cast<std::uint64_t>(i), 1, "INSERT"});
    run_sql(*connection, "INSERT INTO t VALUES (" + std::to_string(i) + ", 'row " + std::to_string(i) + "')");
    must(sink.flush());
    if (i == kRows / 2) must(database->checkpoint());
    if (i == kRows - 4) must(replica->record_config(config(RangeId(7), 4, 9)));
  }
}

void write_nine(ReplicaStore& replicas, Disk& disk, const std::string& ranges) {
  auto replica = must(replicas.create(kNine));
  must(replica->record_config(config(RangeId(9), 2, 6)));
  LocalSink sink(*replica, Epoch(2));
  auto database = must(replica->open_database(sink));
  auto connection = must(database->connect());
  run_sql(*connection, "CREATE TABLE t (id INTEGER PRIMARY KEY)");
  for (int i = 0; i < 4; ++i) run_sql(*connection, "INSERT INTO t DEFAULT VALUES");
  must(sink.flush());
  must(write_sealed(disk, ranges + "/9", "cut", {"cut", 1},
                    {{"after", "3"}, {"config", placement::encode(config(RangeId(9), 3, 7))}}));
}

void generate(const fs::path& dir) {
  const auto disk = make_posix_disk();
  const std::string path = (dir / "store").string();
  fs::create_directories(dir);
  auto store = must(open_store(*disk, path));
  must(store->set_identity({"0b5e3c1d-7a42-4e0f-8d6c-91f2a3b4c5d6", kUuid, NodeId(1)}));
  must(store->record_incarnation(Incarnation(12)));
  const auto replicas = must(open_replica_store(*disk, path, small_segments()));
  write_seven(*replicas);
  write_nine(*replicas, *disk, path + "/ranges");
  const std::string bytes = snapshot_bytes();
  must(replicas->receive_snapshot(kEight, kSnapshotAt, bytes.size(), 0,
                                  std::string_view(bytes).substr(0, kSnapshotSynced)));
  // A piece is noted as synced every 8 MiB; the file of a small one is written by hand, as that would.
  must(write_sealed(*disk, path + "/ranges/8.incoming", "snapshot", {"snapshot", 1},
                    {{"of", "8/2/" + kUuid + "@41/4/305441741"},
                     {"size", std::to_string(bytes.size())},
                     {"synced", std::to_string(kSnapshotSynced)}}));
  for (const char* scratch : {"/ranges/7/db-wal", "/ranges/9/db-wal", "/LOCK"}) fs::remove(path + scratch);

  write(dir / "range_record.json", placement::encode(config(RangeId(7), 4, 9)));
  proto::RangeMessage chunk;
  chunk.set_range(8);
  chunk.set_epoch(4);
  chunk.set_cfg(9);
  chunk.set_to_replica(2);
  chunk.set_from_replica(1);
  auto& body = *chunk.mutable_snapshot_chunk();
  body.set_snapshot_lsn(kSnapshotAt.lsn.value);
  body.set_snapshot_epoch(kSnapshotAt.epoch.value);
  body.set_entry_checksum(kSnapshotAt.checksum);
  body.set_file_size(kSnapshotPages * kPageBytes);
  body.set_offset(kPageBytes);
  body.set_data(bytes.substr(kPageBytes, kPageBytes));
  body.set_crc(crc32c(body.data()));
  body.set_config(placement::encode(config(RangeId(8), 4, 9)));
  write(dir / "snapshot_chunk.bin", chunk.SerializeAsString());
  proto::RangeMessage append;
  append.set_range(7);
  append.set_epoch(4);
  append.mutable_append()->set_durable_lsn(9);
  replication::set_entry(*append.mutable_append()->add_entries(), sample_entry());
  write(dir / "append.bin", append.SerializeAsString());
}

class Golden : public ::testing::TestWithParam<const char*> {
 protected:
  static void SetUpTestSuite() {
    if (const char* dir = std::getenv("OUTLAST_WRITE_GOLDEN")) generate(fs::absolute(dir));
  }
  void SetUp() override {
    if (std::getenv("OUTLAST_WRITE_GOLDEN") != nullptr) GTEST_SKIP() << "writing, not reading";
    fs::copy(golden() / "store", store_path(), fs::copy_options::recursive);
  }
  fs::path golden() const { return fs::path(OUTLAST_GOLDEN_DIR) / GetParam(); }
  std::string store_path() const { return (dir_.path() / "store").string(); }
  std::string range_path(int range) const { return store_path() + "/ranges/" + std::to_string(range); }
  std::unique_ptr<ReplicaStore> replicas() { return must(open_replica_store(*disk_, store_path(), small_segments())); }

  testing_support::TestDir dir_;
  std::unique_ptr<Disk> disk_ = make_posix_disk();
};

TEST_P(Golden, AStoreSaysWhoItIs) {
  const auto store = must(open_store(*disk_, store_path()));
  EXPECT_EQ(store->identity().store_uuid, kUuid);
  EXPECT_EQ(store->identity().node, NodeId(1));
  EXPECT_EQ(store->incarnation(), Incarnation(12));
  EXPECT_FALSE(store->record_incarnation(Incarnation(12)).ok());
}

TEST_P(Golden, AReplicaRecoversAndLeads) {
  const auto store = replicas();
  const auto replica = must(store->open(RangeId(7)));
  const Lsn end(kRows + 1);
  EXPECT_EQ(replica->log_end().lsn, end);
  EXPECT_GT(replica->applied(), Lsn(1));
  EXPECT_LT(replica->applied(), end) << "the golden store has nothing to recover";
  ASSERT_TRUE(replica->recorded_config());
  EXPECT_EQ(*replica->recorded_config(), config(RangeId(7), 4, 9));
  LocalSink sink(*replica, Epoch(5));
  const auto database = must(replica->open_database(sink));
  const auto connection = must(database->connect());
  EXPECT_EQ(query(connection->raw(), "SELECT count(*) FROM t"), std::to_string(kRows));
  EXPECT_EQ(query(connection->raw(), "SELECT payload FROM t WHERE id = 24"), "row 24");
  EXPECT_EQ(query(connection->raw(), "PRAGMA integrity_check"), "ok");
  EXPECT_EQ(run_sql(*connection, "INSERT INTO t VALUES (25, 'written today')"), SQLITE_OK);
  must(sink.flush());
  EXPECT_EQ(replica->log_end().lsn, end.next());
  must(database->checkpoint());
  EXPECT_EQ(replica->applied(), end.next());
}

TEST_P(Golden, AReplicaFollows) {
  const auto store = replicas();
  const auto replica = must(store->open(RangeId(7)));
  const LogPosition end = replica->log_end();
  auto entry = std::make_shared<LogEntry>(sample_entry());
  CommitPages commit = must(decode(entry->payload));
  commit.db_pages = 3;
  commit.pages = {{3, std::string(kPageBytes, 'n')}};
  entry->payload = encode(commit);
  entry->prev = end;
  entry->at = {end.lsn.next(), Epoch(5), entry_checksum(end.lsn.next(), Epoch(5), end, entry->payload)};
  const LogEntryPtr shared = entry;
  must(replica->append({&shared, 1}));
  must(replica->sync());
  must(replica->apply_to(end.lsn.next()));
  EXPECT_EQ(must(replica->digest()).at, entry->at);
}

TEST_P(Golden, EveryLogEntryCanBeReadAndKnowsItsRequest) {
  const auto store = replicas();
  const auto replica = must(store->open(RangeId(7)));
  EXPECT_EQ(replica->log_start().lsn, Lsn(0));
  int inserts = 0;
  for (Lsn at = replica->log_start().lsn; at < replica->log_end().lsn;) {
    for (const LogEntryPtr& entry : must(replica->read(at, 1U << 20))) {
      const CommitView view = must(decode_view(entry->payload));
      if (view.request.tag == "INSERT") {
        EXPECT_EQ(view.request.sequence, static_cast<std::uint64_t>(++inserts));
        EXPECT_EQ(view.request.gateway, 99U);
      }
      at = entry->at.lsn;
    }
  }
  EXPECT_EQ(inserts, kRows);
  EXPECT_GE(std::distance(fs::directory_iterator(range_path(7)), {}), 5) << "two segments, db, mark, replica";
}

TEST_P(Golden, AnInterruptedCutIsFinishedAndKeepsTheHighestEpoch) {
  const auto store = replicas();
  const auto replica = must(store->open(RangeId(9)));
  EXPECT_EQ(replica->log_end().lsn, Lsn(3));
  EXPECT_EQ(replica->recorded_config()->epoch, Epoch(3));
  EXPECT_FALSE(fs::exists(range_path(9) + "/cut"));
}

TEST_P(Golden, ASnapshotGoesOnWhereItStopped) {
  const auto store = replicas();
  const std::string bytes = snapshot_bytes();
  EXPECT_EQ(must(store->receive_snapshot(kEight, kSnapshotAt, bytes.size(), 0, std::string_view(bytes).substr(0, 100))),
            kSnapshotSynced);
}

TEST_P(Golden, MessagesAndRecordsAreUnderstood) {
  EXPECT_EQ(must(placement::decode_range_config(read(golden() / "range_record.json"))), config(RangeId(7), 4, 9));
  proto::RangeMessage chunk, append;
  ASSERT_TRUE(chunk.ParseFromString(read(golden() / "snapshot_chunk.bin")));
  const auto& body = chunk.snapshot_chunk();
  EXPECT_EQ(body.offset(), kPageBytes);
  EXPECT_EQ(crc32c(body.data()), body.crc());
  EXPECT_EQ(must(placement::decode_range_config(body.config())), config(RangeId(8), 4, 9));
  ASSERT_TRUE(append.ParseFromString(read(golden() / "append.bin")));
  const auto entry = must(replication::entry_from(std::move(*append.mutable_append()->mutable_entries(0))));
  EXPECT_EQ(entry->at, sample_entry().at);
  EXPECT_EQ(must(decode(entry->payload)).request.tag, "UPDATE");
}

// Newer versions: refused by name, with what to do, and left as they are.

void expect_refused(const Error& error) {
  EXPECT_EQ(error.code, Errc::kWrongVersion) << error.message;
  EXPECT_NE(error.message.find("newer version of Outlast"), std::string::npos) << error.message;
  EXPECT_NE(error.message.find("start that version"), std::string::npos) << error.message;
}

/// Raises the version in the first line of a sealed file.
void make_newer(const fs::path& path) {
  const std::string text = read(path);
  const std::size_t end = text.find('\n');
  write(path, text.substr(0, text.rfind(' ', end)) + " 9999" + text.substr(end));
}

std::uint32_t salt_of(const ReplicaIdentity& id) {
  return crc32c(id.store_uuid + "/" + id.range.to_string() + "/" + id.replica.to_string());
}
/// Sets a u16 version inside a header of `bytes` at `at`, whose last four bytes are its checksum.
void raise_version(std::string& file, std::size_t at, std::size_t version_at, std::size_t bytes, std::uint32_t salt) {
  file[at + version_at] = 9;
  const std::uint32_t crc = crc32c(std::string_view(file).substr(at, bytes - 4), salt);
  for (int i = 0; i < 4; ++i) file[at + bytes - 4 + static_cast<std::size_t>(i)] = static_cast<char>(crc >> (8 * i));
}

TEST_P(Golden, ANewerStoreIsRefused) {
  make_newer(store_path() + "/IDENTITY");
  expect_refused(open_store(*disk_, store_path()).error());
}

TEST_P(Golden, NewerSmallFilesAreRefused) {
  make_newer(store_path() + "/INCARNATION");
  expect_refused(open_store(*disk_, store_path()).error());
  for (const char* name : {"replica", "mark"}) {
    SCOPED_TRACE(name);
    const std::string before = read(range_path(7) + "/" + name);
    make_newer(range_path(7) + "/" + name);
    const auto store = replicas();
    expect_refused(store->open(RangeId(7)).error());
    write(range_path(7) + "/" + name, before);
  }
  make_newer(range_path(9) + "/cut");
  const auto store = replicas();
  expect_refused(store->open(RangeId(9)).error());
}

TEST_P(Golden, NewerLogsAreRefused) {
  std::vector<fs::path> segments;
  for (const auto& file : fs::directory_iterator(range_path(7)))
    if (file.path().filename().string().starts_with("log.")) segments.push_back(file.path());
  std::ranges::sort(segments);
  ASSERT_GE(segments.size(), 2U);
  const std::string whole = read(segments.back());
  std::string segment = whole, record = whole;
  raise_version(segment, 0, 4, kSegmentHeaderBytes, salt_of(kSeven));
  raise_version(record, kSegmentHeaderBytes, 4, kRecordHeaderBytes, salt_of(kSeven));
  for (const std::string& bytes : {segment, record}) {
    write(segments.back(), bytes);
    const auto store = replicas();
    expect_refused(store->open(RangeId(7)).error());
    EXPECT_EQ(read(segments.back()), bytes) << "a file of a newer version was touched";
  }
  std::string payload = sample_entry().payload;
  payload[0] = 99;
  expect_refused(decode(payload).error());
}

TEST_P(Golden, ANewerRangeRecordIsRefused) {
  std::string text = read(golden() / "range_record.json");
  text.insert(1, "\"format\":2,");
  expect_refused(placement::decode_range_config(text).error());
  std::string extended = read(golden() / "range_record.json");
  extended.insert(1, "\"a_field_of_the_future\":[1],");  // what may be ignored needs no new format
  EXPECT_TRUE(placement::decode_range_config(extended).ok());
}

INSTANTIATE_TEST_SUITE_P(Version, Golden, ::testing::ValuesIn(kVersions));

}  // namespace
}  // namespace outlast
