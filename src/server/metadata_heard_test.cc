#include "server/metadata_heard.h"

#include "tests/support/sim_meta_test.h"

namespace outlast::server {
namespace {
using namespace std::chrono_literals;

class MetadataHeardTest : public testing_support::SimMetaTest {
 protected:
  int again_{0};
  MetadataHeard heard_{loop_, store_, [this] { ++again_; }};
};

TEST_F(MetadataHeardTest, NothingIsTakenForAnAnswerButAFreshOne) {
  EXPECT_FALSE(heard_.lately());
  loop_.advance_until([&] { return again_ == 1; }, 1s);
  EXPECT_TRUE(heard_.lately());
  loop_.advance(MetadataHeard::kFresh + 1ms);
  EXPECT_FALSE(heard_.lately()) << "much may have happened since";
  loop_.advance_until([&] { return again_ == 2; }, 1s);
  EXPECT_TRUE(heard_.lately());
}

TEST_F(MetadataHeardTest, AStoreThatIsAwayIsAskedAgainWheneverSomebodyWantsToKnow) {
  store_.set_connected(false);
  EXPECT_FALSE(heard_.lately());
  loop_.advance(5s);
  EXPECT_FALSE(heard_.lately());
  loop_.advance(5s);
  EXPECT_EQ(again_, 0);
  store_.set_connected(true);
  EXPECT_FALSE(heard_.lately());
  loop_.advance_until([&] { return again_ == 1; }, 1s);
  EXPECT_TRUE(heard_.lately());
}

}  // namespace
}  // namespace outlast::server
