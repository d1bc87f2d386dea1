#include "ingest/config_input.h"

#include "ingest/parse/timestamp.h"

namespace outlast::ingest {
namespace {
/// "udp://0.0.0.0:5140" as scheme and address.
Result<std::pair<std::string, std::string>> split_listen(const std::string& listen) {
  const auto scheme = listen.find("://");
  const std::string address = scheme == std::string::npos ? "" : listen.substr(scheme + 3);
  const auto colon = address.rfind(':');
  const std::string port = colon == std::string::npos ? "" : address.substr(colon + 1);
  const bool digits = !port.empty() && port.size() <= 5 && port.find_first_not_of("0123456789") == std::string::npos;
  if (colon == 0 || !digits || std::stoul(port) > 65'535)
    return Error(Errc::kInvalidArgument, "\"" + listen + "\" is no address; write one such as \"udp://0.0.0.0:5140\"");
  return std::pair(listen.substr(0, scheme), address);
}

Result<std::string> checked_tag(const std::string& tag) {
  if (is_tag(tag)) return tag;
  return Error(Errc::kInvalidArgument,
               "\"" + tag + "\" is no tag: parts of letters, digits, - and _ with points between them");
}

void put_name_in(std::string& tag, const std::string& name) {
  constexpr std::string_view kPlace = "{name}";
  for (auto at = tag.find(kPlace); at != std::string::npos; at = tag.find(kPlace, at + name.size()))
    tag.replace(at, kPlace.size(), name);
}

void read_listen(ConfigTable& table, InputConfig& input) {
  std::string listen;
  table.require("listen", "\"udp://0.0.0.0:5140\"");
  if (!table.text("listen", listen)) return;
  const auto parts = split_listen(listen);
  if (!parts.ok()) return table.wrong("listen", parts.error().message);
  const auto& [scheme, address] = *parts;
  input.address = address;
  input.stream = scheme != "udp";
  const bool fits = input.kind == InputKind::kUdp      ? scheme == "udp"
                    : input.kind == InputKind::kTcp    ? scheme == "tcp"
                    : input.kind == InputKind::kSyslog ? scheme == "udp" || scheme == "tcp"
                                                       : scheme == "http" || scheme == "tcp";
  if (!fits) table.wrong("listen", "an input of this type does not listen on \"" + scheme + "\"");
}

void read_parser(ConfigTable& table, InputConfig& input) {
  ParserOptions& parser = input.parser;
  if (input.kind == InputKind::kSyslog) parser.kind = ParserKind::kSyslog;
  if (input.kind == InputKind::kHttp) parser.kind = ParserKind::kJson;
  table.parsed<ParserKind>("parser", parser.kind, parser_kind_from);
  table.text("expression", parser.expression);
  table.text("time_key", parser.time_key);
  table.parsed<std::int32_t>("timezone", parser.utc_offset, [](const std::string& text) -> Result<std::int32_t> {
    if (const auto offset = parse_utc_offset(text)) return *offset;
    return Error(Errc::kInvalidArgument, "this is an offset such as \"+02:00\", or \"UTC\"");
  });
  if (parser.kind == ParserKind::kRegexp) {
    table.require("expression", "'^(?<level>\\S+) (?<text>.*)$'");
    if (const auto made = make_parser(parser); !made.ok()) table.wrong("expression", made.error().message);
  } else if (table.has("expression")) {
    table.wrong("expression", "only parser = \"regexp\" has one");
  }
}

void read_ack(ConfigTable& table, InputConfig& input) {
  const bool answers = input.kind == InputKind::kHttp;
  input.ack = answers ? Ack::kBuffered : Ack::kReceived;
  table.word<Ack>("ack", input.ack,
                  {{"received", Ack::kReceived}, {"buffered", Ack::kBuffered}, {"stored", Ack::kStored}});
  if (!answers && input.ack != Ack::kReceived)
    table.wrong("ack", "senders of this type are told nothing, so it can only be \"received\"");
}

}  // namespace

Result<InputConfig> read_input(const toml::table& from, const std::string& file) {
  ConfigTable table(from, file, "[[input]]");
  InputConfig input;
  std::string type;
  table.require("type", "\"syslog\"");
  table.text("type", type);
  table.word<InputKind>(
      "type", input.kind,
      {{"udp", InputKind::kUdp}, {"tcp", InputKind::kTcp}, {"syslog", InputKind::kSyslog}, {"http", InputKind::kHttp}});
  input.name = type;
  table.text("name", input.name);
  read_listen(table, input);
  input.tag = "{name}";
  table.text("tag", input.tag);
  put_name_in(input.tag, input.name);
  if (const auto tag = checked_tag(input.tag); !tag.ok()) table.wrong("tag", tag.error().message);
  read_parser(table, input);
  table.bytes("message_size_max", input.message_bytes_max);
  table.texts("allow", input.allow);
  table.number("rate_max", input.rate_max, 0);
  read_ack(table, input);
  const bool stream = input.stream && input.kind != InputKind::kHttp;
  if (input.kind == InputKind::kSyslog) input.framing = FramingKind::kAuto;
  if (table.word<FramingKind>("framing", input.framing,
                              {{"newline", FramingKind::kNewline},
                               {"octet-counted", FramingKind::kOctetCounted},
                               {"auto", FramingKind::kAuto}}) &&
      !stream)
    table.wrong("framing", "only records that come over TCP are framed");
  TRY(table.finish());
  return input;
}

}  // namespace outlast::ingest
