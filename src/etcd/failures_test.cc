// What etcd can do to a cluster, done to a real one: every test starts its own processes and ends them.
#include <grpcpp/create_channel.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "etcd/etcd_store.h"
#include "etcd/local_etcd.h"
#include "meta/events.h"
#include "tests/support/sim_loop.h"
#include "tests/support/test_dir.h"

namespace outlast::etcd {
namespace {
using namespace std::chrono_literals;
using meta::Compare;
using meta::Op;
using meta::Txn;
using meta::TxnReply;
using meta::WatchBatch;
constexpr auto kLong = 60s;  ///< No test waits for less; a busy machine is slow.

class EtcdFailures : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto program = LocalEtcd::find_program(); !program.ok()) GTEST_SKIP() << program.error().message;
  }
  void TearDown() override {
    stores_.clear();
    loop_.run_ready();
    if (HasFailure() && etcd_)
      for (int i = 0; i < etcd_->size(); ++i) std::printf("--- etcd %d\n%s\n", i + 1, etcd_->log_tail(i).c_str());
  }

  void start(LocalEtcdOptions options) {
    options.dir = dir_.path().string();
    etcd_ = std::make_unique<LocalEtcd>(std::move(options));
    const auto started = etcd_->start(kLong);
    ASSERT_TRUE(started.ok()) << started.error().to_string();
  }
  Result<EtcdStore*> open(const std::string& endpoints, const std::string& rest = "", Duration first_answer = 20s) {
    ASSIGN_OR_RETURN(const Options options, parse_url("etcd://" + endpoints + rest));
    ASSIGN_OR_RETURN(std::unique_ptr<EtcdStore> store, open_etcd(options, loop_, first_answer));
    stores_.push_back(std::move(store));
    return stores_.back().get();
  }
  EtcdStore& must_open(const std::string& endpoints, const std::string& rest = "") {
    auto store = open(endpoints, rest);
    EXPECT_TRUE(store.ok()) << store.error().to_string();
    if (!store.ok()) std::abort();  // nothing below makes sense
    return **store;
  }
  bool eventually(const std::function<bool()>& reached, std::chrono::milliseconds limit = kLong) {
    for (const auto end = std::chrono::steady_clock::now() + limit; !reached();) {
      if (std::chrono::steady_clock::now() > end) return false;
      loop_.run_until(reached, 20ms);
    }
    return true;
  }
  Result<TxnReply> run(EtcdStore& store, Txn txn, Duration timeout = 20s) {
    auto reply = std::make_shared<std::optional<Result<TxnReply>>>();
    store.txn(std::move(txn), timeout, [reply](Result<TxnReply> r) { *reply = std::move(r); });
    if (!eventually([&] { return reply->has_value(); })) return Error(Errc::kInternal, "no answer at all");
    return std::move(**reply);
  }
  Result<TxnReply> put(EtcdStore& store, std::string key, std::string value, Duration timeout = 20s) {
    return run(store, {.compares = {}, .then = {Op::put(std::move(key), std::move(value))}, .otherwise = {}}, timeout);
  }
  std::string get(EtcdStore& store, const std::string& key) {
    const auto reply = run(store, {.compares = {}, .then = {Op::get(key)}, .otherwise = {}});
    EXPECT_TRUE(reply.ok()) << reply.error().to_string();
    return reply.ok() && !reply->replies[0].kvs.empty() ? reply->replies[0].kvs[0].value : "(none)";
  }
  /// Repeats what certainly did nothing or may safely be done twice, until it is done.
  bool put_until_done(EtcdStore& store, const std::string& key, const std::string& value) {
    for (const auto end = std::chrono::steady_clock::now() + kLong; std::chrono::steady_clock::now() < end;)
      if (put(store, key, value, 2s).ok()) return true;
    return false;
  }
  bool compact(EtcdStore& store, std::uint64_t keep) {
    std::optional<Result<Revision>> done;
    store.compact(keep, [&](Result<Revision> r) { done = std::move(r); });
    return eventually([&] { return done.has_value(); }) && done->ok();
  }
  int member_of(const std::string& endpoint) const {
    for (int i = 0; i < etcd_->size(); ++i)
      if (etcd_->endpoint(i) == endpoint) return i;
    return -1;
  }
  bool etcdctl(const std::string& arguments) {
    const std::string command = "ETCDCTL_API=3 etcdctl --endpoints=" + etcd_->endpoint(0) + " " + arguments + " >> " +
                                (dir_.path() / "etcdctl.log").string() + " 2>&1";
    return std::system(command.c_str()) == 0;
  }

  testing_support::TestDir dir_;
  testing_support::SimLoop loop_;
  std::unique_ptr<LocalEtcd> etcd_;
  std::vector<std::unique_ptr<EtcdStore>> stores_;
};

/// All that a watch was told.
struct Told {
  Told(EtcdStore& store, std::string prefix, bool may_fall = false) {
    store.watch(std::move(prefix), [this, may_fall](const WatchBatch& batch) {
      if (batch.kind == WatchBatch::Kind::kReset) {
        ++resets;
        state.clear();
        for (const auto& kv : batch.state) state[kv.key] = kv.value;
      }
      for (const auto& event : batch.events) {
        events.push_back(event.kv.value);
        if (event.kind == meta::Event::Kind::kPut)
          state[event.kv.key] = event.kv.value;
        else
          state.erase(event.kv.key);
      }
      EXPECT_TRUE(may_fall || batch.revision >= revision);
      revision = batch.revision;
    });
  }
  int resets{0};
  std::map<std::string, std::string> state;
  std::vector<std::string> events;
  Revision revision;
};

/// connected(), as it changed.
struct Connection {
  explicit Connection(EtcdStore& store) {
    store.on_connection([this](bool connected) { (connected ? ups : downs)++; });
  }
  int ups{0}, downs{0};
};

TEST_F(EtcdFailures, AMemberDiesAndTheNextOneGoesOnWithoutLosingAnEvent) {
  start({.members = 3});
  EtcdStore& watcher = must_open(etcd_->endpoints());
  const std::string used = watcher.health().member;
  const int victim = member_of(used);
  ASSERT_GE(victim, 0);
  std::string others;
  for (int i = 0; i < 3; ++i)
    if (i != victim) others += (others.empty() ? "" : ",") + etcd_->endpoint(i);
  EtcdStore& writer = must_open(others);
  Told told(watcher, "/w/");
  Connection connection(watcher);
  ASSERT_TRUE(eventually([&] { return told.resets == 1; }));
  std::vector<std::string> written;
  const auto write = [&](int n) {
    for (int i = 0; i < n; ++i) {
      written.push_back(std::to_string(written.size()));
      ASSERT_TRUE(put_until_done(writer, "/w/" + written.back(), written.back()));
    }
  };
  write(5);
  etcd_->kill(victim);
  write(20);
  ASSERT_TRUE(eventually([&] { return told.state.size() == written.size(); }));
  std::vector<std::string> first;  // a put in doubt was repeated, and may be seen twice
  for (const std::string& value : told.events)
    if (std::ranges::find(first, value) == first.end()) first.push_back(value);
  EXPECT_EQ(first, written) << "every one, in order";
  EXPECT_EQ(told.resets, 1) << "it went on from the last revision seen";
  EXPECT_NE(watcher.health().member, used);
  EXPECT_TRUE(eventually([&] { return connection.ups >= 1 && watcher.connected(); }));
  EXPECT_GE(connection.downs, 1) << "observers restart their timers";
  EXPECT_TRUE(put(watcher, "/w/own", "x").ok());
}

TEST_F(EtcdFailures, TheLeaderDiesAndEveryConfirmedChangeIsThere) {
  start({.members = 3});
  EtcdStore& store = must_open(etcd_->endpoints());
  const int leader = etcd_->leader();
  ASSERT_GE(leader, 0);
  int confirmed = 0;
  const auto add_one = [&](int from) {
    return run(store,
               {.compares = {Compare::value_is("/n", std::to_string(from))},
                .then = {Op::put("/n", std::to_string(from + 1))},
                .otherwise = {}},
               2s);
  };
  ASSERT_TRUE(put(store, "/n", "0").ok());
  bool killed = false, in_doubt = false;
  const auto look = [&] {  // what was confirmed is there, and at most the one change in doubt besides
    const int fact = std::stoi(get(store, "/n"));
    EXPECT_GE(fact, confirmed);
    EXPECT_LE(fact, confirmed + (in_doubt ? 1 : 0));
    in_doubt = in_doubt && fact == confirmed;  // it may still come
    confirmed = fact;
  };
  for (const auto end = std::chrono::steady_clock::now() + kLong; confirmed < 30;) {
    ASSERT_LT(std::chrono::steady_clock::now(), end);
    if (confirmed == 10 && !std::exchange(killed, true)) etcd_->kill(leader);
    const auto reply = add_one(confirmed);
    if (reply.ok() && reply->succeeded) {
      in_doubt = false;
      ++confirmed;
    } else if (reply.ok()) {
      ASSERT_TRUE(in_doubt) << "nobody else writes";
      look();
    } else if (reply.error().code == Errc::kMetaInDoubt) {
      in_doubt = true;
      look();
    } else {
      ASSERT_EQ(reply.error().code, Errc::kMetaUnavailable) << reply.error().to_string();
    }
  }
  EXPECT_EQ(get(store, "/n"), "30");
}

TEST_F(EtcdFailures, AWatchThatMeetsCompactionIsToldTheWholeState) {
  start({.members = 3});
  EtcdStore& watcher = must_open(etcd_->endpoint(0));
  EtcdStore& writer = must_open(etcd_->endpoint(1) + "," + etcd_->endpoint(2));
  ASSERT_TRUE(put(writer, "/w/gone", "1").ok());
  ASSERT_TRUE(put(writer, "/w/stays", "1").ok());
  Told told(watcher, "/w/");
  ASSERT_TRUE(eventually([&] { return told.resets == 1 && told.state.size() == 2; }));
  etcd_->kill(0);
  ASSERT_TRUE(eventually([&] { return !watcher.connected(); }));
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(put_until_done(writer, "/w/new", std::to_string(i)));
  ASSERT_TRUE(run(writer, {.compares = {}, .then = {Op::del("/w/gone")}, .otherwise = {}}).ok());
  ASSERT_TRUE(put(writer, "/elsewhere", "1").ok());
  ASSERT_TRUE(compact(writer, 1));
  ASSERT_TRUE(etcd_->restart(0).ok());
  ASSERT_TRUE(eventually([&] { return told.resets == 2; }));
  EXPECT_EQ(told.state, (std::map<std::string, std::string>{{"/w/new", "9"}, {"/w/stays", "1"}}));
  ASSERT_TRUE(put(writer, "/w/later", "1").ok());
  EXPECT_TRUE(eventually([&] { return told.state.contains("/w/later"); }));
  EXPECT_EQ(told.resets, 2);
}

TEST_F(EtcdFailures, AQuietWatchIsNotStuckBehindCompaction) {
  start({.members = 1});
  EtcdStore& watcher = must_open(etcd_->endpoints());
  EtcdStore& writer = must_open(etcd_->endpoints());
  Told quiet(watcher, "/quiet/"), busy(watcher, "/busy/");
  ASSERT_TRUE(eventually([&] { return quiet.resets == 1 && busy.resets == 1; }));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(put(writer, "/busy/a", std::to_string(i)).ok());
  ASSERT_TRUE(eventually([&] { return busy.state["/busy/a"] == "19"; }));
  ASSERT_TRUE(compact(writer, 2));
  etcd_->kill(0);
  ASSERT_TRUE(etcd_->restart(0).ok());
  ASSERT_TRUE(put_until_done(writer, "/quiet/a", "1"));
  ASSERT_TRUE(eventually([&] { return quiet.state.contains("/quiet/a"); }));
  EXPECT_EQ(quiet.resets, 1) << "it went on where the common watch was, above what was compacted";
}

TEST_F(EtcdFailures, AMemberStoppedInTheMiddleOfAPutLeavesItInDoubt) {
  start({.members = 1});
  EtcdStore& store = must_open(etcd_->endpoints());
  Told told(store, "/");
  ASSERT_TRUE(eventually([&] { return told.resets == 1 && store.connected(); }));
  Connection connection(store);
  etcd_->freeze(0);
  const auto in_doubt = put(store, "/a", "1", 1s);
  ASSERT_FALSE(in_doubt.ok());
  EXPECT_EQ(in_doubt.error().code, Errc::kMetaInDoubt) << in_doubt.error().to_string();
  ASSERT_TRUE(eventually([&] { return !store.connected(); })) << "nobody answers";
  const auto not_sent = put(store, "/b", "1", 300ms);
  ASSERT_FALSE(not_sent.ok());
  EXPECT_EQ(not_sent.error().code, Errc::kMetaUnavailable) << not_sent.error().to_string();
  etcd_->thaw(0);
  EXPECT_TRUE(eventually([&] { return store.connected() && connection.ups >= 1; }));
  EXPECT_GE(connection.downs, 1) << "down and up again";
  EXPECT_EQ(get(store, "/b"), "(none)") << "certainly not applied means that";
  ASSERT_TRUE(put(store, "/c", "1").ok());
  EXPECT_TRUE(eventually([&] { return told.state.contains("/c"); }));
  EXPECT_EQ(told.state.contains("/a"), get(store, "/a") == "1") << "the watch tells which it was";
}

TEST_F(EtcdFailures, AStoppedMemberIsLeftForOneThatAnswers) {
  start({.members = 3});
  EtcdStore& store = must_open(etcd_->endpoints());
  Told told(store, "/");
  ASSERT_TRUE(eventually([&] { return told.resets == 1; }));
  const std::string used = store.health().member;
  etcd_->freeze(member_of(used));
  EXPECT_EQ(get(store, "/nothing"), "(none)") << "a read moves on by itself";
  // While the others elect a leader it may come by the stopped one again.
  EXPECT_TRUE(eventually([&] { return store.health().member != used; }));
  EXPECT_TRUE(put_until_done(store, "/a", "1"));
  EXPECT_TRUE(eventually([&] { return told.state.contains("/a"); }));
  etcd_->thaw(member_of(used));
}

TEST_F(EtcdFailures, CountsOperationsAsTheServerDoes) {
  start({.members = 1});
  EtcdStore& store = must_open(etcd_->endpoints());
  const Codec codec("/outlast");
  const auto stub = pb::KV::NewStub(grpc::CreateChannel(etcd_->endpoint(0), grpc::InsecureChannelCredentials()));
  const auto puts = [](int n, const std::string& under, int compares = 0) {
    Txn txn;
    for (int i = 0; i < n; ++i) txn.then.push_back(Op::put(under + std::to_string(i), ""));
    txn.compares.assign(static_cast<std::size_t>(compares), Compare::absent("/none"));
    return txn;
  };
  const auto nest = [](int n, const std::function<Txn(int)>& make) {
    Txn txn;
    for (int i = 0; i < n; ++i) txn.then.push_back(Op::txn(make(i)));
    return txn;
  };
  const auto under = [](int i) { return "/n/" + std::to_string(i) + "/"; };
  const std::vector<std::pair<std::string, Txn>> shapes = {
      {"128 puts", puts(128, "/a/")},
      {"129 puts", puts(129, "/a/")},
      {"128 compares", puts(1, "/a/", 128)},
      {"129 compares", puts(1, "/a/", 129)},
      {"100 nested of 28", nest(100, [&](int i) { return puts(28, under(i)); })},
      {"100 nested of 29", nest(100, [&](int i) { return puts(29, under(i)); })},
      {"100 nested of 2 with 28 compares", nest(100, [&](int i) { return puts(2, under(i), 28); })},
      {"100 nested of 2 with 29 compares", nest(100, [&](int i) { return puts(2, under(i), 29); })},
      {"1 nested of 127", nest(1, [&](int i) { return puts(127, under(i)); })},
      {"1 nested of 128", nest(1, [&](int i) { return puts(128, under(i)); })},
  };
  for (const auto& [name, txn] : shapes) {
    pb::TxnResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub->Txn(&context, codec.request(txn), &response);
    const auto checked = Codec::check(txn);
    EXPECT_EQ(status.ok(), checked.ok()) << name << ": etcd says " << status.error_message();
    EXPECT_EQ(status.ok(), depth_ops(txn) <= kOpsMax) << name;
    const auto reply = run(store, txn);
    EXPECT_EQ(reply.ok(), checked.ok()) << name;
    if (!reply.ok()) EXPECT_EQ(reply.error().code, Errc::kMetaTooManyOps) << name;
  }
}

TEST_F(EtcdFailures, ManyOldEventsFitItsTransactions) {
  start({.members = 1});
  EtcdStore& store = must_open(etcd_->endpoints());
  constexpr std::size_t kEvents = 230, kKept = 5;
  std::size_t written = 0;
  for (std::size_t i = 0; i < kEvents; ++i)
    meta::append_event(store, {.time_micros = 1, .type = "t", .node = NodeId(1), .details = {}},
                       [&](const Result<void>& done) { written += done.ok() ? 1 : 0; });
  ASSERT_TRUE(eventually([&] { return written == kEvents; }));
  std::optional<Result<std::size_t>> pruned;
  meta::prune_events(store, kKept, [&](Result<std::size_t> gone) { pruned = std::move(gone); });
  ASSERT_TRUE(eventually([&] { return pruned.has_value(); }));
  ASSERT_TRUE(pruned->ok()) << pruned->error().to_string();
  EXPECT_EQ(**pruned, kEvents - kKept);
}

TEST_F(EtcdFailures, AFullEtcdIsNamedAndGoesOnWhenThereIsSpace) {
  start({.members = 1, .args = {"--quota-backend-bytes=2000000"}});
  EtcdStore& store = must_open(etcd_->endpoints());
  Result<TxnReply> last = TxnReply{};
  for (int i = 0; i < 60 && last.ok(); ++i) last = put(store, "/fill", std::string(200'000, 'x'));
  ASSERT_FALSE(last.ok()) << "the quota must be met";
  EXPECT_EQ(last.error().code, Errc::kMetaInDoubt) << "etcd applies the change that takes it over its quota";
  EXPECT_NE(last.error().message.find("database space exceeded"), std::string::npos) << last.error().message;
  EXPECT_NE(last.error().message.find("alarm disarm"), std::string::npos) << "says what to do";
  ASSERT_TRUE(eventually([&] { return store.health().alarms == std::vector<std::string>{"NOSPACE"}; }));
  EXPECT_GT(store.health().db_bytes, 1'000'000);
  EXPECT_EQ(get(store, "/fill").size(), 200'000U) << "reads go on";
  EXPECT_FALSE(put(store, "/small", "x").ok());
  EXPECT_EQ(get(store, "/small"), "(none)");
  ASSERT_TRUE(compact(store, 1));
  EXPECT_TRUE(
      eventually([&] { return etcdctl("defrag") && etcdctl("alarm disarm") && put(store, "/small", "x", 2s).ok(); }));
  EXPECT_TRUE(eventually([&] { return store.health().alarms.empty(); }));
}

TEST_F(EtcdFailures, UsersAreLoggedInAndWrongOnesRefusedInWords) {
  start({.members = 1});
  for (const char* step :
       {"user add root:secret", "role add outlast", "role grant-permission outlast readwrite /outlast/ --prefix",
        "user add node:right", "user grant-role node outlast", "user add stranger:right", "auth enable"})
    ASSERT_TRUE(etcdctl(step)) << step;
  const auto with = [&](const std::string& user, const std::string& password) {
    std::ofstream(dir_.path() / "password") << password << "\n";
    return "?user=" + user + "&password-file=" + (dir_.path() / "password").string();
  };
  const auto wrong = open(etcd_->endpoints(), with("node", "wrong"));
  ASSERT_FALSE(wrong.ok());
  EXPECT_EQ(wrong.error().code, Errc::kInvalidAuthorization);
  EXPECT_NE(wrong.error().message.find("password-file"), std::string::npos) << wrong.error().message;
  const auto nobody = open(etcd_->endpoints());
  ASSERT_FALSE(nobody.ok());
  EXPECT_NE(nobody.error().message.find("user=NAME"), std::string::npos) << nobody.error().message;
  const auto stranger = open(etcd_->endpoints(), with("stranger", "right"));
  ASSERT_FALSE(stranger.ok());
  EXPECT_NE(stranger.error().message.find("grant-permission"), std::string::npos) << stranger.error().message;
  const auto elsewhere = open(etcd_->endpoints(), "/other" + with("node", "right"));
  EXPECT_FALSE(elsewhere.ok()) << "another cluster's keys";

  EtcdStore& store = must_open(etcd_->endpoints(), with("node", "right"));
  Told told(store, "/w/");
  ASSERT_TRUE(put(store, "/w/a", "1").ok());
  ASSERT_TRUE(eventually([&] { return told.state.contains("/w/a"); }));
  etcd_->kill(0);  // forgets its tokens
  ASSERT_TRUE(etcd_->restart(0).ok());
  EXPECT_TRUE(put_until_done(store, "/w/b", "1"));
  EXPECT_TRUE(eventually([&] { return told.state.contains("/w/b"); }));
}

TEST_F(EtcdFailures, SpeaksTlsWithACertificateOfItsOwnAndTrustsNoOtherAuthority) {
  const std::string d = dir_.path().string();
  const auto shell = [](const std::string& command) {
    return std::system((command + " > /dev/null 2>&1").c_str()) == 0;
  };
  const auto authority = [&](const std::string& name) {
    return shell("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=" + name + " -keyout " + d + "/" + name +
                 ".key -out " + d + "/" + name + ".pem");
  };
  ASSERT_TRUE(authority("ca") && authority("stranger"));
  std::ofstream(d + "/san") << "subjectAltName=IP:127.0.0.1\n";
  ASSERT_TRUE(shell("openssl req -newkey rsa:2048 -nodes -subj /CN=etcd -keyout " + d + "/c.key -out " + d + "/c.csr"));
  ASSERT_TRUE(shell("openssl x509 -req -days 2 -in " + d + "/c.csr -CA " + d + "/ca.pem -CAkey " + d +
                    "/ca.key -CAcreateserial -extfile " + d + "/san -out " + d + "/c.pem"));
  start({.members = 1,
         .ca_file = d + "/ca.pem",
         .cert_file = d + "/c.pem",
         .key_file = d + "/c.key",
         .clients_need_certificates = true});
  EtcdStore& store = must_open(etcd_->endpoints(), "?ca=" + d + "/ca.pem&cert=" + d + "/c.pem&key=" + d + "/c.key");
  EXPECT_TRUE(put(store, "/a", "1").ok());
  for (const std::string& bad :
       {std::string(), "?ca=" + d + "/ca.pem", "?ca=" + d + "/stranger.pem&cert=" + d + "/c.pem&key=" + d + "/c.key"}) {
    const auto refused = open(etcd_->endpoints(), bad, 500ms);
    ASSERT_TRUE(refused.ok()) << "it cannot be told from one that does not answer";
    EXPECT_FALSE((*refused)->connected()) << bad;
    const auto reply = put(**refused, "/b", "1", 500ms);
    ASSERT_FALSE(reply.ok()) << bad;
    EXPECT_EQ(reply.error().code, Errc::kMetaUnavailable) << "never sent";
  }
}

TEST_F(EtcdFailures, AnEtcdThatLostRevisionsIsNoticedAndReadAnew) {
  start({.members = 1});
  EtcdStore& store = must_open(etcd_->endpoints());
  Told told(store, "/w/", true);
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(put(store, "/w/" + std::to_string(i), "old").ok());
  ASSERT_TRUE(eventually([&] { return told.state.size() == 5; }));
  etcd_->kill(0);
  std::filesystem::remove_all(dir_.path() / "etcd1");  // as if restored from an older, here an empty, copy
  ASSERT_TRUE(etcd_->restart(0).ok());
  ASSERT_TRUE(put_until_done(store, "/elsewhere", "1"));
  EXPECT_EQ(get(store, "/w/0"), "(none)");
  EXPECT_TRUE(eventually([&] { return told.resets >= 2 && told.state.empty(); }));
}

}  // namespace
}  // namespace outlast::etcd
