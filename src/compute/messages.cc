#include "compute/messages.h"

#include <utility>

namespace outlast::compute {
namespace {
using executor::Value;

void put(const std::vector<Value>& values, proto::Params& out) {
  struct Visitor {
    proto::Value& to;
    void operator()(executor::Null) const { to.set_null(true); }
    void operator()(std::int64_t x) const { to.set_integer(x); }
    void operator()(double x) const { to.set_real(x); }
    void operator()(const std::string& x) const { to.set_text(x); }
    void operator()(const executor::Blob& x) const { to.set_blob(x.bytes); }
  };
  for (const Value& value : values) std::visit(Visitor{*out.add_values()}, value);
}

std::vector<Value> take(proto::Params& from) {
  std::vector<Value> out;
  for (proto::Value& value : *from.mutable_values()) {
    switch (value.kind_case()) {
      case proto::Value::kInteger:
        out.emplace_back(static_cast<std::int64_t>(value.integer()));
        break;
      case proto::Value::kReal:
        out.emplace_back(value.real());
        break;
      case proto::Value::kText:
        out.emplace_back(std::move(*value.mutable_text()));
        break;
      case proto::Value::kBlob:
        out.emplace_back(executor::Blob{std::move(*value.mutable_blob())});
        break;
      case proto::Value::kNull:
      case proto::Value::KIND_NOT_SET:
        out.emplace_back(executor::Null{});
        break;
    }
  }
  return out;
}
}  // namespace

proto::Compute to_proto(const Plan& plan) {
  proto::Compute out;
  out.set_database(plan.database);
  for (const Fragment& from : plan.fragments) {
    proto::ComputeFragment& fragment = *out.add_fragments();
    fragment.set_name(from.name);
    fragment.set_create(from.create);
    for (const std::string& column : from.columns) fragment.add_columns(column);
    fragment.set_sql(from.sql);
    put(from.parameters, *fragment.mutable_parameters());
    for (const RangeId range : from.ranges) fragment.add_ranges(range.value);
  }
  out.set_final_sql(plan.final_sql);
  put(plan.parameters, *out.mutable_parameters());
  out.set_now_micros(plan.now_micros);
  out.set_memory_limit(plan.memory_limit);
  return out;
}

Plan from_proto(proto::Compute from) {
  Plan out{.database = std::move(*from.mutable_database()),
           .final_sql = std::move(*from.mutable_final_sql()),
           .parameters = take(*from.mutable_parameters()),
           .now_micros = from.now_micros(),
           .memory_limit = from.memory_limit()};
  for (proto::ComputeFragment& fragment : *from.mutable_fragments()) {
    Fragment& to = out.fragments.emplace_back();
    to.name = std::move(*fragment.mutable_name());
    to.create = std::move(*fragment.mutable_create());
    to.columns.assign(fragment.columns().begin(), fragment.columns().end());
    to.sql = std::move(*fragment.mutable_sql());
    to.parameters = take(*fragment.mutable_parameters());
    for (const std::uint64_t range : fragment.ranges()) to.ranges.emplace_back(range);
  }
  return out;
}

gateway::Rows to_rows(proto::ExecReply reply) {
  gateway::Rows rows;
  for (proto::Column& column : *reply.mutable_columns())
    rows.columns.push_back({std::move(*column.mutable_name()), std::move(*column.mutable_decl_type()), "", ""});
  rows.bytes = std::move(*reply.mutable_rows());
  rows.portal = reply.portal();
  rows.suspended = reply.suspended();
  return rows;
}

proto::ExecReply to_reply(const Error& error) {
  proto::ExecReply reply;
  proto::ExecError& out = *reply.mutable_error();
  out.set_code(std::string(facts(error.code).name));
  out.set_message(error.message);
  out.set_detail(error.detail);
  out.set_hint(error.hint);
  out.set_position(error.position);
  reply.set_nothing_applied(true);
  return reply;
}

proto::ExecReply to_reply(Result<gateway::Rows> rows) {
  if (!rows.ok()) return to_reply(rows.error());
  proto::ExecReply reply;
  for (gateway::Column& column : rows->columns) {
    proto::Column& out = *reply.add_columns();
    out.set_name(std::move(column.name));
    out.set_decl_type(std::move(column.decl_type));
  }
  reply.set_rows(std::move(rows->bytes));
  reply.set_portal(rows->portal);
  reply.set_suspended(rows->suspended);
  reply.set_read_only(true);
  return reply;
}

}  // namespace outlast::compute
