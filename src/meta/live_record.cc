#include "meta/live_record.h"

#include "meta/json_fields.h"

namespace outlast::meta {

std::string_view to_string(Phase phase) {
  switch (phase) {
    case Phase::kStandby:
      return "standby";
    case Phase::kLive:
      return "live";
    case Phase::kLeaving:
      return "leaving";
  }
  return "standby";
}

std::string encode(const LiveRecord& record) {
  return boost::json::serialize(boost::json::object{{"seq", record.sequence},
                                                    {"phase", std::string(to_string(record.phase))},
                                                    {"addr", record.addr},
                                                    {"ttl_ns", record.ttl.count()}});
}

Result<LiveRecord> decode_live_record(std::string_view text) {
  ASSIGN_OR_RETURN(JsonFields fields, JsonFields::parse(text, "a liveness record"));
  LiveRecord record{.sequence = fields.number("seq"),
                    .phase = Phase::kStandby,
                    .addr = fields.text("addr"),
                    .ttl = Duration(fields.signed_number("ttl_ns"))};
  const std::string phase = fields.text("phase");
  TRY(fields.check());
  // A phase of a newer version counts as standby: it is given nothing.
  for (const auto known : {Phase::kLive, Phase::kLeaving})
    if (phase == to_string(known)) record.phase = known;
  return record;
}

}  // namespace outlast::meta
