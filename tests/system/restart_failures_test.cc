// Whoever dies or hangs in whatever state of a restart (protocol A8): the outcome is the documented one, clients that
// waited go on, and no acknowledged row is lost or doubled. docs/restart.md has the same table.
#include <libpq-fe.h>

#include <boost/json.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>

#include "support/restarts.h"

namespace outlast {
namespace {
using namespace std::chrono_literals;
namespace json = boost::json;
using handover::HandoverState;
using testing_support::Hold;
using testing_support::RestartsTest;
using testing_support::Role;
using testing_support::Writer;

/// A client that sits there with a setting and a prepared statement.
class IdleClient {
 public:
  explicit IdleClient(const std::string& url) : connection_(PQconnectdb(url.c_str())) {
    run("SET application_name = 'idle'");
    PQclear(PQprepare(connection_, "insert", "INSERT INTO t VALUES ($1)", 0, nullptr));
  }
  ~IdleClient() { PQfinish(connection_); }
  int fd() const { return PQsocket(connection_); }
  bool insert(long id) {
    const std::string text = std::to_string(id);
    const char* const values[] = {text.c_str()};
    return ok(PQexecPrepared(connection_, "insert", 1, values, nullptr, nullptr, 0));
  }
  bool run(const std::string& sql) { return ok(PQexec(connection_, sql.c_str())); }
  std::string setting() {
    PGresult* const result = PQexec(connection_, "SHOW application_name");
    std::string value = PQntuples(result) == 1 ? PQgetvalue(result, 0, 0) : PQresultErrorMessage(result);
    PQclear(result);
    return value;
  }
  std::string sqlstate() const { return sqlstate_; }
  /// What a client may see whose process died: 08006, or a connection that broke without a word.
  bool was_cut() const {
    return PQstatus(connection_) == CONNECTION_BAD && (sqlstate_.empty() || sqlstate_ == "08006");
  }

 private:
  bool ok(PGresult* result) {
    const ExecStatusType status = PQresultStatus(result);
    const char* const code = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    sqlstate_ = code == nullptr ? "" : code;
    PQclear(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
  }
  PGconn* const connection_;
  std::string sqlstate_;
};

struct Case {
  HandoverState state;
  Role victim;
  int signal;
};

enum class Session : std::uint8_t { kLives, kDies };

/// What has to come of it.
struct Expected {
  const char* hold_role{nullptr};          ///< Who is held, where the state begins; nullptr: this cannot happen.
  std::vector<std::string_view> outcomes;  ///< In the receipt; empty: nobody was left to write it.
  Session idle{Session::kLives};
  bool ordinary{false};  ///< Not the restart's affair: a process that hangs goes on when it is let.
};

/// A state that is new here does not compile before it has its row.
Expected expected(const Case& c) {
  const bool dies = c.signal == SIGKILL;
  const auto supervisor = [&](const char* holder) -> Expected {
    return {holder, dies ? std::vector<std::string_view>{} : std::vector<std::string_view>{"completed"}};
  };
  switch (c.state) {
    case HandoverState::kTrial:
      if (c.victim == Role::kSupervisor) return supervisor("supervisor");
      if (c.victim == Role::kNew) return {"program", {"refused"}};
      return {"supervisor", {"recovered", "completed"}, Session::kDies};
    case HandoverState::kStandby:
      if (c.victim == Role::kSupervisor) return supervisor("new");
      if (c.victim == Role::kNew) return {"new", {"rolled_back"}};
      return {"new", {"recovered"}, Session::kDies};
    case HandoverState::kSessions:  // the idle session has moved, and a transaction holds the state
      if (c.victim == Role::kSupervisor) return supervisor("new");
      if (c.victim == Role::kNew) return {"new", {"rolled_back"}};
      return {"new", {"recovered"}};
    case HandoverState::kStorageReleased:
      if (c.victim == Role::kSupervisor) return supervisor("new");
      if (c.victim == Role::kNew) return {"new", {"recovered"}};
      return {"new", {"completed"}};
    case HandoverState::kOwned:
      if (c.victim == Role::kSupervisor) return {"supervisor", supervisor("").outcomes};
      if (c.victim == Role::kNew) return {"supervisor", {"completed"}, dies ? Session::kDies : Session::kLives, true};
      return {"supervisor", {"completed"}};
    case HandoverState::kDone:
    case HandoverState::kIdle:
      if (c.victim == Role::kSupervisor) return {"supervisor", {"completed"}};
      if (c.victim == Role::kNew) return {"supervisor", {"completed"}, dies ? Session::kDies : Session::kLives, true};
      return {};  // it has gone
  }
  return {};
}

class RestartSurvives : public RestartsTest, public testing::WithParamInterface<Case> {
 protected:
  /// A program that waits at a FIFO before it is outlast.
  std::string held_program() {
    const std::string path = dir() + "/held-outlast";
    std::ofstream(path) << "#!/bin/sh\nread x < " << dir() << "/hold-program-trial\nexec " OUTLAST_BINARY " \"$@\"\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
    return path;
  }
};

TEST_P(RestartSurvives, EveryDeathInEveryState) {
  const Case& c = GetParam();
  const Expected wanted = expected(c);
  const bool hangs = c.signal == SIGSTOP && c.victim != Role::kSupervisor && !wanted.ordinary;
  if (hangs) environment("OUTLAST_RESTART_TIMEOUT", "2s");
  ASSERT_NO_FATAL_FAILURE(start_one());
  IdleClient idle(cluster().sql_url(0)), busy(cluster().sql_url(0));
  Writer writer(cluster().sql_url(0), 1'000'000);
  std::set<long> acknowledged;
  ASSERT_TRUE(idle.insert(1));
  acknowledged.insert(1);
  if (c.state == HandoverState::kSessions) ASSERT_TRUE(busy.run("BEGIN") && busy.insert(2));

  auto held = hold(wanted.hold_role, c.state);
  const std::uint64_t id = begin_restart(wanted.hold_role == std::string("program") ? held_program() : "");
  ASSERT_NO_FATAL_FAILURE(wait_reached(*held));
  const pid_t victim = process(c.victim);
  ASSERT_NE(victim, 0);
  if (c.state == HandoverState::kSessions) {
    held->release();
    wait("the move of the idle session", [&] { return serves(process(Role::kNew), idle.fd()); });
  }
  ASSERT_NO_FATAL_FAILURE(strike(victim, c.signal));
  held->release();

  if (c.state == HandoverState::kSessions && c.victim == Role::kSupervisor) {
    ASSERT_TRUE(busy.insert(3) && busy.run("COMMIT")) << busy.sqlstate();
    acknowledged.insert({2, 3});
  }
  if (c.victim == Role::kSupervisor) {
    ASSERT_TRUE(idle.insert(4)) << idle.sqlstate();
    acknowledged.insert(4);
    if (c.signal == SIGSTOP) ::kill(victim, SIGCONT);
    if (c.signal == SIGKILL) {
      ASSERT_TRUE(cluster().wait_exit(0, 10s).ok());
      const auto started = cluster().start(0);
      ASSERT_TRUE(started.ok()) << started.error().message;
      wait("the adoption", [this] { return facts_name(supervisor()); });
    }
  }
  if (!wanted.outcomes.empty()) {
    const json::object told = receipt(id);
    EXPECT_TRUE(std::ranges::find(wanted.outcomes, outcome(told)) != wanted.outcomes.end()) << json::serialize(told);
  }
  if (wanted.ordinary && c.signal == SIGSTOP) ::kill(victim, SIGCONT);
  if (c.state == HandoverState::kSessions && c.victim == Role::kNew) {
    EXPECT_TRUE(busy.insert(3) && busy.run("COMMIT")) << busy.sqlstate();
    acknowledged.insert({2, 3});
  }
  if (c.state == HandoverState::kSessions && c.victim == Role::kOld) {
    EXPECT_FALSE(busy.run("COMMIT"));
    EXPECT_TRUE(busy.was_cut()) << busy.sqlstate();
  }

  if (wanted.idle == Session::kLives) {
    EXPECT_TRUE(idle.insert(5)) << idle.sqlstate();
    EXPECT_EQ(idle.setting(), "idle");
    acknowledged.insert(5);
  } else {
    EXPECT_FALSE(idle.insert(6));
    EXPECT_TRUE(idle.was_cut()) << idle.sqlstate();
  }
  EXPECT_EQ(value(0, "defaultdb", "SELECT count(*) FROM t WHERE id = 1"), "1");
  ASSERT_NO_FATAL_FAILURE(expect_nobody_left_over());
  const json::object further = restart();
  EXPECT_EQ(outcome(further), "completed") << json::serialize(further);
  writer.stop();
  acknowledged.insert(writer.acknowledged().begin(), writer.acknowledged().end());
  expect_rows(acknowledged);
  expect_nobody_left_over();
}

std::vector<Case> all_cases() {
  std::vector<Case> all;
  for (const HandoverState state : handover::kAllHandoverStates)
    for (const Role role : testing_support::kAllRoles)
      for (const int signal : {SIGKILL, SIGSTOP})
        if (expected({state, role, signal}).hold_role != nullptr) all.push_back({state, role, signal});
  return all;
}

std::string name_of(const testing::TestParamInfo<Case>& info) {
  return std::string(to_string(info.param.victim)) + (info.param.signal == SIGKILL ? "_dies_in_" : "_hangs_in_") +
         std::string(to_string(info.param.state));
}

INSTANTIATE_TEST_SUITE_P(Restart, RestartSurvives, testing::ValuesIn(all_cases()), name_of);

}  // namespace
}  // namespace outlast
