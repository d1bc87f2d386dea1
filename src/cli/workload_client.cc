#include "cli/workload_client.h"

#include <spdlog/fmt/fmt.h>

#include <cstdlib>

namespace outlast::cli {
namespace {
using namespace std::chrono_literals;
constexpr auto kConnectTimeout = 3s;
constexpr auto kGiveUpAfter = 30s;  ///< Without any node letting the client in.
constexpr int kCheckOneOf = 8;      ///< One statement in so many is a read that checks an earlier answer.
constexpr std::size_t kPayloadPad = 64;
}  // namespace

std::string payload_of(int client, std::int64_t seq) {
  std::string text = fmt::format("{}/{}/", client, seq);
  text.append(kPayloadPad, static_cast<char>('a' + seq % 26));
  return text;
}

WorkloadClient::WorkloadClient(const WorkloadPlan& plan, int index, LoadRecord& record,
                               const std::atomic<bool>& stopping, ClientJournal& journal)
    : plan_(plan),
      index_(index),
      record_(record),
      stopping_(stopping),
      journal_(journal),
      random_(plan.seed * 1'000'003 + static_cast<std::uint64_t>(index)),
      next_url_(static_cast<std::size_t>(index) % plan.urls.size()) {}

void WorkloadClient::run() {
  while (!stopping_) {
    asked_ = Clock::now();
    const bool check = random_.below(kCheckOneOf) == 0;
    if (journal_.kind == RowKind::kAppended)
      check ? read_back() : append_row();
    else
      check ? check_total() : transfer();
    // Uniform around the mean, so that clients do not fall into step.
    if (plan_.pause > 0ns)
      std::this_thread::sleep_for(Duration(random_.below(static_cast<std::uint64_t>(2 * plan_.pause.count()))));
  }
  connection_.reset();
}

/// Some live half as long as allowed, so that they do not all end at once.
void WorkloadClient::retire_old_connection() {
  if (!connection_ || plan_.lifetime == 0ns || Clock::now() < retires_) return;
  record_.retired();
  connection_.reset();
}

StatementPlace WorkloadClient::place(bool in_transaction, bool may_retry) const {
  return {.in_transaction = in_transaction, .may_retry = may_retry && !plan_.naive, .naive = plan_.naive};
}

bool WorkloadClient::ensure_connected() {
  retire_old_connection();
  if (connection_) {
    const auto farewell = connection_->farewell();
    if (!farewell) return true;
    const bool told = farewell->sqlstate == "57P01" || farewell->sqlstate == "57P03";
    leave(told ? Ending::kClosedIdle : Ending::kBroken, false);
  }
  auto since = Clock::now();
  std::string why;
  for (std::size_t tries = 0; !stopping_; ++tries) {
    for (std::size_t i = 1; i < plan_.urls.size() && plan_.in_service && !plan_.in_service(next_url_); ++i)
      next_url_ = (next_url_ + 1) % plan_.urls.size();
    auto made = PgConnection::connect(plan_.urls[next_url_], journal_.database, kConnectTimeout);
    if (made.ok()) {
      connection_.emplace(std::move(made).value());
      opened_ = Clock::now();
      const auto half = static_cast<std::uint64_t>(plan_.lifetime.count()) / 2;
      retires_ = opened_ + plan_.lifetime - Duration(random_.below(half + 1));
      record_.opened();
      return true;
    }
    record_.refused();
    why = made.error().message;
    next_url_ = (next_url_ + 1) % plan_.urls.size();
    if (Clock::now() - since > kGiveUpAfter) {
      record_.unreachable(why, Clock::now() - asked_);
      since = Clock::now();
    }
    // A round over all nodes failed: do not spin on refused connections.
    if ((tries + 1) % plan_.urls.size() == 0) std::this_thread::sleep_for(20ms);
  }
  return false;
}

void WorkloadClient::leave(Ending ending, bool in_transaction) {
  record_.closed(ending, in_transaction);
  connection_.reset();
  next_url_ = (next_url_ + 1) % plan_.urls.size();
}

std::optional<WorkloadClient::Answer> WorkloadClient::statement(const std::string& sql, StatementPlace place) {
  // Inside a transaction a lost connection ends the transaction: only its first statement may reconnect.
  if (!place.in_transaction && !ensure_connected()) return std::nullopt;
  const auto sent = Clock::now();
  Answer answer{connection_->run(sql, plan_.statement_timeout), {}};
  answer.ending = judge(answer.reply, place);
  record_.statement(answer.ending, answer.reply, asked_, sent);
  if (answer.ending == Ending::kBroken) record_.broke({next_url_, opened_, Clock::now()});
  asked_ = Clock::now();
  if (answer.reply.broken) leave(answer.ending, place.in_transaction);
  return answer;
}

void WorkloadClient::note(std::int64_t seq, RowFate fate) {
  journal_.rows.push_back({{index_, seq}, fate});
}

void WorkloadClient::append_row() {
  if (!ensure_connected()) return;  // before a seq is taken: what was never sent needs no fate
  const std::int64_t seq = next_seq_++;
  const auto answer =
      statement(fmt::format("INSERT INTO appended (run, client, seq, payload) VALUES ({}, {}, {}, '{}')", plan_.run,
                            index_, seq, payload_of(index_, seq)),
                place(false, false));
  if (!answer) return note(seq, RowFate::kRefused);  // stopped before it was sent
  note(seq, fate_of_write(answer->reply, answer->ending));
  if (answer->ending != Ending::kOk) return;
  last_acked_ = seq;
  if (answer->reply.tag != "INSERT 0 1") record_.wrong_answer("INSERT of one row was answered " + answer->reply.tag);
}

void WorkloadClient::read_back() {
  if (!last_acked_) return append_row();
  const auto answer = statement(fmt::format("SELECT payload FROM appended WHERE run = {} AND client = {} AND seq = {}",
                                            plan_.run, index_, *last_acked_),
                                place(false, false));
  if (!answer || answer->ending != Ending::kOk) return;
  const auto& rows = answer->reply.rows;
  if (rows.size() != 1 || rows[0].size() != 1 || rows[0][0] != payload_of(index_, *last_acked_))
    record_.wrong_answer(fmt::format("row {}/{} of {} was acknowledged, and a later SELECT saw {} rows for it", index_,
                                     *last_acked_, journal_.database, rows.size()));
}

void WorkloadClient::check_total() {
  const auto answer = statement("SELECT count(*), sum(balance) FROM accounts", place(false, true));
  if (!answer || answer->ending != Ending::kOk) return;
  const auto& rows = answer->reply.rows;
  const std::int64_t wanted = plan_.accounts * kOpeningBalance;
  if (rows.size() != 1 || rows[0].size() != 2 || !rows[0][1] || std::strtod(rows[0][1]->c_str(), nullptr) != wanted)
    record_.wrong_answer(fmt::format("the balances of {} add up to {}, not {}", journal_.database,
                                     rows.empty() ? "nothing" : rows[0].back().value_or("NULL"), wanted));
}

void WorkloadClient::transfer() {
  if (!ensure_connected()) return;
  const std::int64_t seq = next_seq_++;
  const auto accounts = static_cast<std::uint64_t>(plan_.accounts);
  const std::uint64_t from = random_.below(accounts);
  const std::uint64_t to = (from + 1 + random_.below(accounts - 1)) % accounts;
  const auto amount = static_cast<std::int64_t>(1 + random_.below(20));
  while (true) {
    const auto fate = try_transfer(seq, from, to, amount);
    if (fate) return note(seq, *fate);
    if (stopping_) return note(seq, RowFate::kRefused);  // the last try ended in 40001: nothing was applied
  }
}

std::optional<RowFate> WorkloadClient::try_transfer(std::int64_t seq, std::uint64_t from, std::uint64_t to,
                                                    std::int64_t amount) {
  const std::string steps[] = {
      "BEGIN", fmt::format("UPDATE accounts SET balance = balance - {} WHERE id = {}", amount, from),
      fmt::format("UPDATE accounts SET balance = balance + {} WHERE id = {}", amount, to),
      fmt::format("INSERT INTO transfers (run, client, seq, source, target, amount) VALUES ({}, {}, {}, {}, {}, {})",
                  plan_.run, index_, seq, from, to, amount),
      "COMMIT"};
  const char* const tags[] = {"BEGIN", "UPDATE 1", "UPDATE 1", "INSERT 0 1", "COMMIT"};
  for (std::size_t i = 0; i < std::size(steps); ++i) {
    const bool first = i == 0, last = i + 1 == std::size(steps);
    const auto answer = statement(steps[i], place(!first, true));
    if (!answer) return RowFate::kRefused;  // stopping, nothing was sent
    const bool wrong = answer->ending == Ending::kOk && answer->reply.tag != tags[i];
    if (wrong) record_.wrong_answer(fmt::format("{} was answered {}", steps[i], answer->reply.tag));
    if (last && !wrong && answer->ending != Ending::kRetried) return fate_of_write(answer->reply, answer->ending);
    if (answer->ending == Ending::kOk && !wrong) continue;
    if (connection_) (void)connection_->run("ROLLBACK", plan_.statement_timeout);
    if (last && wrong) return RowFate::kUnknown;
    // Before the COMMIT was sent nothing can have been applied, whatever happened to the connection.
    if (answer->ending == Ending::kRetried || answer->ending == Ending::kClosedIdle) return std::nullopt;
    return RowFate::kRefused;
  }
  return RowFate::kRefused;
}

}  // namespace outlast::cli
