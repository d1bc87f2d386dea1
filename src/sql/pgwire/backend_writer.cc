#include "sql/pgwire/backend_writer.h"

namespace outlast::sql::pgwire {
namespace {
std::string_view word(Severity severity) {
  switch (severity) {
    case Severity::kError:
      return "ERROR";
    case Severity::kFatal:
      return "FATAL";
    case Severity::kWarning:
      return "WARNING";
    case Severity::kNotice:
      return "NOTICE";
  }
  return "ERROR";
}
}  // namespace

void BackendWriter::begin(char type) {
  start_ = bytes_.size();
  bytes_.push_back(type);
  bytes_.append(4, '\0');
}

void BackendWriter::end() {
  const auto length = static_cast<std::uint32_t>(bytes_.size() - start_ - 1);
  for (int i = 0; i < 4; ++i)
    bytes_[start_ + 1 + static_cast<std::size_t>(i)] = static_cast<char>(length >> (24 - 8 * i));
}

void BackendWriter::empty(char type) {
  begin(type);
  end();
}

void BackendWriter::u16(std::uint16_t v) {
  u8(static_cast<std::uint8_t>(v >> 8));
  u8(static_cast<std::uint8_t>(v));
}

void BackendWriter::u32(std::uint32_t v) {
  u16(static_cast<std::uint16_t>(v >> 16));
  u16(static_cast<std::uint16_t>(v));
}

void BackendWriter::cstring(std::string_view text) {
  bytes_ += text.substr(0, text.find('\0'));
  bytes_.push_back('\0');
}

void BackendWriter::authentication_ok() {
  begin('R');
  u32(0);
  end();
}

void BackendWriter::negotiate_protocol_version(std::uint32_t newest_version, std::span<const std::string> unknown) {
  begin('v');
  u32(newest_version);
  u32(static_cast<std::uint32_t>(unknown.size()));
  for (const std::string& option : unknown) cstring(option);
  end();
}

void BackendWriter::parameter_status(std::string_view name, std::string_view value) {
  begin('S');
  cstring(name);
  cstring(value);
  end();
}

void BackendWriter::backend_key_data(std::int32_t pid, std::string_view key) {
  begin('K');
  u32(static_cast<std::uint32_t>(pid));
  bytes_ += key;
  end();
}

void BackendWriter::ready_for_query(char status) {
  begin('Z');
  u8(static_cast<std::uint8_t>(status));
  end();
}

void BackendWriter::row_description(std::span<const FieldDescription> fields) {
  begin('T');
  u16(static_cast<std::uint16_t>(fields.size()));
  for (const FieldDescription& field : fields) {
    cstring(field.name);
    u32(field.table);
    u16(static_cast<std::uint16_t>(field.column));
    u32(field.type);
    u16(static_cast<std::uint16_t>(field.type_length));
    u32(static_cast<std::uint32_t>(field.typmod));
    u16(static_cast<std::uint16_t>(field.format));
  }
  end();
}

void BackendWriter::parameter_description(std::span<const std::uint32_t> types) {
  begin('t');
  u16(static_cast<std::uint16_t>(types.size()));
  for (const std::uint32_t type : types) u32(type);
  end();
}

void BackendWriter::command_complete(std::string_view tag) {
  begin('C');
  cstring(tag);
  end();
}

void BackendWriter::begin_row(std::size_t columns) {
  begin('D');
  u16(static_cast<std::uint16_t>(columns));
}

void BackendWriter::null() {
  u32(0xffffffffu);
}

void BackendWriter::value(std::string_view bytes) {
  u32(static_cast<std::uint32_t>(bytes.size()));
  bytes_ += bytes;
}

void BackendWriter::end_row() {
  end();
}

void BackendWriter::abandon_row() {
  bytes_.resize(start_);
}

void BackendWriter::copy_response(char type, std::size_t columns) {
  begin(type);
  u8(0);
  u16(static_cast<std::uint16_t>(columns));
  for (std::size_t i = 0; i < columns; ++i) u16(0);
  end();
}

void BackendWriter::copy_in_response(std::size_t columns) {
  copy_response('G', columns);
}
void BackendWriter::copy_out_response(std::size_t columns) {
  copy_response('H', columns);
}

void BackendWriter::copy_data(std::string_view bytes) {
  begin('d');
  bytes_ += bytes;
  end();
}

void BackendWriter::report(Severity severity, const Error& error, std::string_view sqlstate) {
  begin(severity == Severity::kError || severity == Severity::kFatal ? 'E' : 'N');
  const auto field = [this](char code, std::string_view text) {
    u8(static_cast<std::uint8_t>(code));
    cstring(text);
  };
  field('S', word(severity));
  field('V', word(severity));
  field('C', sqlstate);
  field('M', error.message);
  if (!error.detail.empty()) field('D', error.detail);
  if (!error.hint.empty()) field('H', error.hint);
  if (error.position > 0) field('P', std::to_string(error.position));
  u8(0);
  end();
}

}  // namespace outlast::sql::pgwire
