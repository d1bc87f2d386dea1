#include "sql/session/portal_runner.h"

#include <limits>

namespace outlast::sql {
namespace asio = boost::asio;
using executor::Value;
using Kind = StatementKind;
namespace {
lifecycle::Outcome outcome_of(const Result<void>& done) {
  using enum lifecycle::Outcome;
  if (done.ok()) return kDone;
  const Errc code = done.error().code;
  if (code == Errc::kUnknownOutcome || code == Errc::kGatewayLost) return kUnknown;
  return code == Errc::kCancelled || code == Errc::kDeadline ? kCancelled : kFailed;
}
}  // namespace

Result<void> PortalRunner::check_formats(const Portal& portal) const {
  const std::size_t given = portal.formats.size(), columns = portal.rows.columns();
  if (given <= 1 || given == columns) return {};
  return Error(Errc::kProtocolViolation, "bind message has " + std::to_string(given) +
                                             " result formats but query has " + std::to_string(columns) + " columns");
}

asio::awaitable<Result<void>> PortalRunner::execute(std::shared_ptr<Portal> portal, RunMode mode) {
  ++s_.host.metrics.statements;
  auto ticket = s_.host.gate.admit(lifecycle::WorkKind::kStatement);
  if (!ticket.ok()) co_return std::move(ticket).error();
  s_.running = portal->prepared;
  const Instant began = s_.running_since = s_.host.clock.now();
  Result<void> done = co_await run(std::move(portal), mode);
  s_.host.metrics.times.add(s_.host.clock.now() - began);
  ticket->end(outcome_of(done));
  co_return done;
}

asio::awaitable<Result<void>> PortalRunner::run(std::shared_ptr<Portal> portal, RunMode mode) {
  const Translated& t = portal->prepared->statement;
  if (portal->state == Portal::State::kNew) {
    if (auto admitted = runner_.admit(t, mode); !admitted.ok()) co_return admitted;
    if (t.kind == Kind::kEmpty) {
      s_.io.out.empty_query_response();
      co_return Result<void>();
    }
    portal->state = Portal::State::kDone;  // until it is known that rows wait
    if (t.kind == Kind::kFetch) co_return co_await fetch_cursor(portal);
    if (t.kind == Kind::kCopyFrom) co_return co_await copy_.from_client(t);
    if (t.kind == Kind::kCopyTo) co_return co_await copy_.to_client(t);
    auto run = StatementRunner::is_plain(t) ? runner_.run_sql(t, std::move(portal->params), mode)
                                            : runner_.start(t, std::move(portal->params), mode);
    auto started = co_await std::move(run);
    if (!started.ok()) co_return std::move(started).error();
    portal->tag = std::move(started->tag);
    if (!started->rows) {
      if (portal->describe_first && !portal->simple) s_.io.out.no_data();
      s_.io.out.command_complete(portal->tag);
      co_return Result<void>();
    }
    portal->rows = *std::move(started->rows);
    portal->state = Portal::State::kRunning;
    if (portal->simple) portal->rows.guess_types();
    if (auto checked = check_formats(*portal); !checked.ok()) co_return checked;
    if (portal->describe_first) s_.io.out.row_description(portal->rows.fields(portal->formats));
  }
  if (portal->state == Portal::State::kDone && portal->tag.empty())
    co_return Error(Errc::kInvalidState, "portal cannot be run again: bind the statement once more");
  auto sent = co_await send_rows(portal, portal->formats, mode.max_rows, false);
  if (!sent.ok()) co_return std::move(sent).error();
  if (mode.max_rows > 0 && *sent == mode.max_rows) {
    s_.io.out.portal_suspended();
    co_return Result<void>();
  }
  portal->state = Portal::State::kDone;
  const bool write = t.kind == Kind::kWrite && portal->rows.changes() > 0;
  const auto count = write ? portal->rows.changes() : static_cast<std::int64_t>(*sent);
  s_.io.out.command_complete(complete_tag(portal->tag, count));
  co_return Result<void>();
}

asio::awaitable<Result<std::uint64_t>> PortalRunner::send_rows(std::shared_ptr<Portal> from,
                                                               std::vector<std::int16_t> formats, std::uint64_t limit,
                                                               bool skip_output) {
  RowStream& rows = from->rows;
  std::uint64_t sent = 0;
  std::vector<Value> row;
  while (limit == 0 || sent < limit) {
    auto got = rows.next(row);
    if (!got.ok()) co_return std::move(got).error();
    if (*got) {
      ++sent;
      if (skip_output) continue;
      if (auto wrote = write_row(s_.io.out, row, rows.types(), formats); !wrote.ok())
        co_return std::move(wrote).error();
      if (s_.io.full()) {
        if (auto flushed = co_await s_.io.flush(); !flushed.ok()) co_return std::move(flushed).error();
      }
      continue;
    }
    if (!rows.more()) break;
    if (auto go = s_.check_cancelled(); !go.ok()) {
      co_await rows.close(*s_.gateway);
      co_return std::move(go).error();
    }
    if (auto more = co_await rows.fetch(*s_.gateway, limit == 0 ? 0 : limit - sent); !more.ok())
      co_return std::move(more).error();
  }
  co_return sent;
}

asio::awaitable<Result<void>> PortalRunner::fetch_cursor(std::shared_ptr<Portal> portal) {
  const Translated& t = portal->prepared->statement;
  const auto it = s_.portals.find(t.name);
  if (it == s_.portals.end()) co_return Error(Errc::kUndefinedCursor, "cursor \"" + t.name + "\" does not exist");
  const std::shared_ptr<Portal> cursor = it->second;
  if (cursor->state == Portal::State::kNew || cursor == portal)
    co_return Error(Errc::kUndefinedCursor, "portal \"" + t.name + "\" is not a cursor that rows can be fetched from");
  const bool move = t.tag == "MOVE";
  if (portal->describe_first && !move) s_.io.out.row_description(cursor->rows.fields(portal->formats));
  std::uint64_t sent = 0;
  if (t.fetch_count != 0) {
    const auto limit = t.fetch_count < 0 ? 0 : static_cast<std::uint64_t>(t.fetch_count);
    auto done = co_await send_rows(cursor, portal->formats, limit, move);
    if (!done.ok()) co_return std::move(done).error();
    sent = *done;
  }
  portal->tag = move ? "MOVE" : "FETCH";
  s_.io.out.command_complete(complete_tag(portal->tag, static_cast<std::int64_t>(sent)));
  co_return Result<void>();
}

}  // namespace outlast::sql
