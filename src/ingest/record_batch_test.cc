#include "ingest/record_batch.h"

#include <gtest/gtest.h>

#include <vector>

namespace outlast::ingest {
namespace {

RecordBatch batch_of(const std::vector<std::string>& texts) {
  RecordBatch batch;
  for (const std::string& text : texts) batch.append(RawRecord{1'700'000'000'000'000, "192.0.2.7:514", text});
  return batch;
}

std::vector<std::string> texts_of(const RecordBatch& batch) {
  std::vector<std::string> texts;
  RawRecord record;
  for (auto reader = batch.read(); reader.next(record);) texts.emplace_back(record.bytes);
  return texts;
}

TEST(RecordBatch, GivesBackWhatWasAppended) {
  const std::vector<std::string> texts{"one", "", std::string("nul\0\xff", 5), std::string(100'000, 'x')};
  const RecordBatch batch = batch_of(texts);
  EXPECT_EQ(batch.records(), 4U);
  EXPECT_EQ(texts_of(batch), texts);
  RawRecord record;
  auto reader = batch.read();
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.received_micros, 1'700'000'000'000'000);
  EXPECT_EQ(record.peer, "192.0.2.7:514");
}

TEST(RecordBatch, CutsAPeerThatNoAddressCanBe) {
  RecordBatch batch;
  batch.append(RawRecord{-1, std::string(300, 'p'), "text"});
  RawRecord record;
  auto reader = batch.read();
  ASSERT_TRUE(reader.next(record));
  EXPECT_EQ(record.peer.size(), 255U);
  EXPECT_EQ(record.bytes, "text");
  EXPECT_FALSE(reader.next(record));
}

TEST(RecordBatch, JoinsBatchesAndStartsAgain) {
  RecordBatch batch = batch_of({"a"});
  batch.append(batch_of({"b", "c"}));
  EXPECT_EQ(texts_of(batch), (std::vector<std::string>{"a", "b", "c"}));
  batch.clear();
  EXPECT_TRUE(batch.empty());
  EXPECT_EQ(batch.bytes(), 0U);
}

TEST(RecordBatch, TakesBackItsOwnBytesAndNoOthers) {
  const RecordBatch batch = batch_of({"one", "two"});
  auto again = RecordBatch::from(batch.data());
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(again->records(), 2U);
  for (std::size_t cut = 1; cut < batch.bytes(); ++cut) {
    if (cut == batch.bytes() / 2) continue;  // a whole record
    EXPECT_EQ(RecordBatch::from(batch.data().substr(0, cut)).error().code, Errc::kCorrupt) << cut;
  }
  std::string bad_peer = batch.data();
  bad_peer[12] = '\xff';
  EXPECT_EQ(RecordBatch::from(bad_peer).error().code, Errc::kCorrupt);
  std::string bad_length = batch.data();
  bad_length[0] = 3;
  EXPECT_EQ(RecordBatch::from(bad_length).error().code, Errc::kCorrupt);
}

}  // namespace
}  // namespace outlast::ingest
