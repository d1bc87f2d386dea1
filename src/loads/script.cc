#include "loads/script.h"

#include <algorithm>
#include <utility>

#include "executor/row_batch.h"
#include "executor/script.h"

namespace outlast::loads {
namespace asio = boost::asio;

namespace {
asio::awaitable<Result<Rows>> run_alone(gateway::Session& session, std::optional<RangeId> range,
                                        std::vector<Step> steps) {
  constexpr std::string_view kCount = "changes()";
  Rows rows;
  std::int64_t before = 0;
  for (Step& step : steps) {
    if (const std::size_t at = step.counts ? step.sql.find(kCount) : std::string::npos; at != std::string::npos)
      step.sql.replace(at, kCount.size(), std::to_string(before));
    gateway::Statement statement = own_statement(std::move(step.sql), range);
    statement.params = std::move(step.params);
    auto done = co_await session.run(std::move(statement));
    if (!done.ok()) co_return std::move(done).error();
    executor::RowReader reader(done->bytes, done->columns.size());
    for (Row row; !reader.done() && reader.next(row).ok();) rows.push_back(std::move(row));
    before = done->changes;
    if (step.must_change && before == 0) break;
  }
  co_return rows;
}

/// nullopt: they do not go together.
std::optional<gateway::Statement> script_of(std::vector<Step>& steps, std::optional<RangeId> range) {
  if (std::ranges::any_of(steps, [](const Step& step) { return step.params.size() > 1; })) return std::nullopt;
  std::vector<executor::ScriptStep> texts;
  for (const Step& step : steps) texts.push_back({step.sql, step.must_change});
  auto text = executor::join_script(texts);
  if (!text) return std::nullopt;
  gateway::Statement script = own_statement(*std::move(text), range);
  for (Step& step : steps) script.params.push_back(step.params.empty() ? Row() : std::move(step.params.front()));
  return script;
}
}  // namespace

asio::awaitable<Result<Rows>> run_steps(gateway::Session& session, std::optional<RangeId> range,
                                        std::vector<Step> steps, Pace pace) {
  auto script = pace == Pace::kTogether ? script_of(steps, range) : std::nullopt;
  if (!script) co_return co_await run_alone(session, range, std::move(steps));
  co_return co_await read_rows(session, *std::move(script));
}

bool wants_one_by_one(const Error& error) {
  return error.code == Errc::kSyntax && error.message.find("several commands") != std::string::npos;
}

}  // namespace outlast::loads
