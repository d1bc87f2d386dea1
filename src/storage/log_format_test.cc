#include "storage/log_format.h"

#include <gtest/gtest.h>

#include "base/crc32c.h"
#include "base/loop.h"
#include "storage/template_db.h"

namespace outlast::storage {
namespace {

CommitPages sample() {
  CommitPages commit;
  commit.db_pages = 9;
  commit.request = {0x1122334455667788, 42, -1, "INSERT", ""};
  commit.pages = {{2, std::string(kPageBytes, 'a')}, {9, std::string(kPageBytes, 'b')}};
  return commit;
}

CommitPages sample_with_result() {
  CommitPages commit = sample();
  commit.request.result = "rows";
  return commit;
}

std::string hex(std::string_view bytes) {
  std::string out;
  for (const char c : bytes) {
    char two[3];
    std::snprintf(two, sizeof two, "%02x", static_cast<unsigned char>(c));
    out += two;
  }
  return out;
}

TEST(LogFormat, KeepsItsBytes) {  // golden: a change here needs a new version and a reader for this one
  const std::string payload = encode(sample());
  EXPECT_EQ(payload.size(), 50U + 2 * (8 + kPageBytes));
  EXPECT_EQ(hex(payload.substr(0, 50)),
            "0100060000100000090000000200000088776655443322112a00000000000000ffffffffffffffff494e5345525485ea4c01");
  EXPECT_EQ(crc32c(payload), 2003320068U);
  const LogPosition prev{Lsn(4), Epoch(2), 0xdeadbeef};
  EXPECT_EQ(entry_checksum(Lsn(5), Epoch(3), prev, "payload"), 3077800631U);
  EXPECT_EQ(hex(encode(SegmentHeader{prev}, 7)),
            "4f4c53310100000004000000000000000200000000000000efbeadde0000000000000000edd51591");
  EXPECT_EQ(hex(encode(RecordHeader{RecordKind::kEntry, 7, {Lsn(5), Epoch(3), 1}, prev, 99}, 7)),
            "4f4c5231010001000700000001000000050000000000000003000000000000000200000000000000"
            "efbeadde00000000630000000000000000000000748b8d7b");
}

TEST(LogFormat, KeepsItsBytesOfVersion2) {  // golden
  const std::string payload = encode(sample_with_result());
  EXPECT_EQ(payload.size(), 58U + 2 * (8 + kPageBytes));
  EXPECT_EQ(hex(payload.substr(0, 58)),
            "0200060000100000090000000200000088776655443322112a00000000000000ffffffffffffffff494e534552540400000072"
            "6f777367f590c1");
  EXPECT_EQ(crc32c(payload.substr(58)), crc32c(encode(sample()).substr(50))) << "the pages are as in version 1";
}

TEST(LogFormat, WritesVersion1WhenThereIsNothingNewToSay) {
  EXPECT_EQ(encode(sample())[0], 1) << "a program that knows version 1 only must be able to follow";
  EXPECT_EQ(encode(sample_with_result())[0], 2);
}

TEST(LogFormat, WritesNothingNewerThanEveryMemberReads) {
  EXPECT_EQ(encode(sample_with_result(), 1), encode(sample())) << "without what RETURNING gave";
  EXPECT_EQ(encode(sample_with_result(), 9), encode(sample_with_result()));
}

TEST(LogFormat, TellsTheRequestOfBothVersions) {
  for (const CommitPages& commit : {sample(), sample_with_result()}) {
    const auto request = request_of(encode(commit));
    ASSERT_TRUE(request.ok());
    EXPECT_EQ(request->gateway, 0x1122334455667788U);
    EXPECT_EQ(request->sequence, 42U);
    EXPECT_EQ(request->changes, -1);
    EXPECT_EQ(request->tag, "INSERT");
    EXPECT_EQ(request->result, commit.request.result);
    const auto whole = decode(encode(commit));
    ASSERT_TRUE(whole.ok());
    EXPECT_EQ(whole->pages, commit.pages);
    EXPECT_EQ(whole->request.result, commit.request.result);
  }
}

TEST(LogFormat, ReadsBackWhatItWrote) {
  const auto commit = decode(encode(sample()));
  ASSERT_TRUE(commit.ok());
  EXPECT_EQ(commit->db_pages, 9U);
  EXPECT_EQ(commit->request.gateway, 0x1122334455667788U);
  EXPECT_EQ(commit->request.sequence, 42U);
  EXPECT_EQ(commit->request.changes, -1);
  EXPECT_EQ(commit->request.tag, "INSERT");
  EXPECT_EQ(commit->pages, sample().pages);
  const RecordHeader header{RecordKind::kEntry, 7, {Lsn(5), Epoch(3), 1}, {Lsn(4), Epoch(2), 8}, 99};
  const auto read = decode_record_header(encode(header, 7), 7);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(read->at, header.at);
  EXPECT_EQ(read->prev, header.prev);
  EXPECT_EQ(read->synced_bytes, 99U);
  EXPECT_FALSE(decode_record_header(encode(header, 7), 8).ok()) << "a record of another replica passed for ours";
}

TEST(LogFormat, FindsEveryFlippedBitAndEveryTruncation) {
  SeededRandom random(3);
  for (const std::string& payload : {encode(sample()), encode(sample_with_result())}) {
    for (std::size_t i = 0; i < payload.size(); i += i < 60 ? 1 : 1 + random.below(97)) {
      std::string bad = payload;
      bad[i] = static_cast<char>(bad[i] ^ (1 << random.below(8)));
      EXPECT_FALSE(decode(bad).ok()) << "byte " << i;
      if (i < 50) EXPECT_FALSE(request_of(bad).ok()) << "byte " << i;
    }
    for (std::size_t size = 0; size < payload.size(); size += 1 + random.below(211))
      EXPECT_FALSE(decode(payload.substr(0, size)).ok()) << size;
  }
}

TEST(LogFormat, RefusesANewerVersionByName) {
  std::string payload = encode(sample());
  payload[0] = 3;
  EXPECT_EQ(decode(payload).error().code, Errc::kWrongVersion);
}

TEST(Template, IsTheSameEverywhere) {
  EXPECT_EQ(template_database().size(), kPageBytes);
  EXPECT_EQ(crc32c(template_database()), 4113582664U);
}

}  // namespace
}  // namespace outlast::storage
