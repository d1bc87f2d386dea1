// Scripts' words into messages, and messages into scripts' lines.
#include <cctype>
#include <cstdio>
#include <map>

#include "sql/pgwire/cursor.h"
#include "tests/wire/wire_client.h"

namespace outlast::testing {
namespace {
using sql::pgwire::Cursor;

std::string be16(std::uint32_t v) {
  return {static_cast<char>(v >> 8), static_cast<char>(v)};
}
std::string be32(std::uint32_t v) {
  return be16(v >> 16) + be16(v & 0xffff);
}
std::string framed(char type, const std::string& body) {
  return type + be32(static_cast<std::uint32_t>(body.size() + 4)) + body;
}
std::string z(const std::string& text) {
  return text + '\0';
}
std::uint32_t number(const std::string& text) {
  return static_cast<std::uint32_t>(std::strtol(text.c_str(), nullptr, 10));
}

std::string code_list(std::string_view codes) {
  std::string out;
  std::uint32_t count = 0;
  for (const char c : codes) {
    if (c == ',') continue;
    out += be16(static_cast<std::uint32_t>(c - '0'));
    ++count;
  }
  return be16(count) + out;
}

std::string startup(const std::vector<Word>& words) {
  const std::string& version = words.at(1).text;
  std::string body = be16(number(version)) + be16(number(version.substr(version.find('.') + 1)));
  for (std::size_t i = 2; i < words.size(); ++i) {
    const std::size_t equals = words[i].text.find('=');
    body += z(words[i].text.substr(0, equals)) + z(words[i].text.substr(equals + 1));
  }
  body += '\0';
  return be32(static_cast<std::uint32_t>(body.size() + 4)) + body;
}

std::string bind(const std::vector<Word>& words) {
  std::string parameter_formats = code_list(""), result_formats = code_list(""), values;
  std::uint32_t count = 0;
  for (std::size_t i = 3; i < words.size(); ++i) {
    const Word& w = words[i];
    if (!w.quoted && w.text.starts_with("pf="))
      parameter_formats = code_list(w.text.substr(3));
    else if (!w.quoted && w.text.starts_with("rf="))
      result_formats = code_list(w.text.substr(3));
    else if (!w.quoted && w.text == "null")
      values += be32(0xffffffff), ++count;
    else
      values += be32(static_cast<std::uint32_t>(w.text.size())) + w.text, ++count;
  }
  return framed('B',
                z(words.at(1).text) + z(words.at(2).text) + parameter_formats + be16(count) + values + result_formats);
}

std::string in_quotes(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    char hex[8];
    if (c == '"' || c == '\\')
      out += std::string("\\") + c;
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (byte < 32)
      std::snprintf(hex, sizeof hex, "\\x%02x", byte), out += hex;
    else
      out += c;
  }
  return out + "\"";
}

std::string row_text(Cursor in) {
  std::string out;
  for (int n = in.u16(); n > 0 && in.ok(); --n) {
    const auto length = static_cast<std::int32_t>(in.u32());
    out += length < 0 ? " null" : " " + in_quotes(in.bytes(static_cast<std::size_t>(length)));
  }
  return out;
}

std::string fields_text(Cursor in) {
  std::string out;
  for (int n = in.u16(); n > 0 && in.ok(); --n) {
    out += " " + std::string(in.cstring());
    in.u32(), in.u16();
    out += ":" + std::to_string(in.u32());
    in.u16(), in.u32();
    out += ":" + std::to_string(in.u16());
  }
  return out;
}

std::string error_text(Cursor in) {
  std::string severity, code;
  while (in.ok() && in.left() > 1) {
    const char field = static_cast<char>(in.u8());
    const std::string text(in.cstring());
    if (field == 'S') severity = text;
    if (field == 'C') code = text;
  }
  return " " + severity + " " + code;
}
}  // namespace

Result<std::vector<Word>> split_words(std::string_view line) {
  std::vector<Word> words;
  std::size_t i = 0;
  while (i < line.size()) {
    if (line[i] == ' ') {
      ++i;
      continue;
    }
    Word word;
    word.quoted = line[i] == '"';
    if (!word.quoted) {
      while (i < line.size() && line[i] != ' ') word.text += line[i++];
      words.push_back(std::move(word));
      continue;
    }
    for (++i; i < line.size() && line[i] != '"'; ++i) {
      if (line[i] != '\\' || i + 1 >= line.size()) {
        word.text += line[i];
        continue;
      }
      const char c = line[++i];
      if (c == 'n')
        word.text += '\n';
      else if (c == 't')
        word.text += '\t';
      else if (c == '0')
        word.text += '\0';
      else if (c == 'x' && i + 2 < line.size()) {
        word.text += static_cast<char>(std::stoi(std::string(line.substr(i + 1, 2)), nullptr, 16));
        i += 2;
      } else
        word.text += c;
    }
    if (i == line.size()) return Error(Errc::kSyntax, "a quote is missing in: " + std::string(line));
    ++i;
    words.push_back(std::move(word));
  }
  return words;
}

std::string cancel_request(std::int32_t pid, std::string_view key) {
  return be32(static_cast<std::uint32_t>(12 + key.size())) + be32(80877102) + be32(static_cast<std::uint32_t>(pid)) +
         std::string(key);
}

Result<std::string> encode_message(const std::vector<Word>& words) {
  const auto at = [&](std::size_t i) { return i < words.size() ? words[i].text : std::string(); };
  const std::string kind = at(0);
  if (kind == "Raw") return at(1);
  if (kind == "Startup") return startup(words);
  if (kind == "SSLRequest") return be32(8) + be32(80877103);
  if (kind == "GSSENCRequest") return be32(8) + be32(80877104);
  if (kind == "Query") return framed('Q', z(at(1)));
  if (kind == "Parse") {
    std::string types;
    for (std::size_t i = 3; i < words.size(); ++i) types += be32(number(words[i].text));
    return framed('P', z(at(1)) + z(at(2)) + be16(static_cast<std::uint32_t>(types.size() / 4)) + types);
  }
  if (kind == "Bind") return bind(words);
  if (kind == "Describe") return framed('D', at(1) + z(at(2)));
  if (kind == "Close") return framed('C', at(1) + z(at(2)));
  if (kind == "Execute") return framed('E', z(at(1)) + be32(number(at(2))));
  if (kind == "Flush") return framed('H', "");
  if (kind == "Sync") return framed('S', "");
  if (kind == "Terminate") return framed('X', "");
  if (kind == "CopyData") return framed('d', at(1));
  if (kind == "CopyDone") return framed('c', "");
  if (kind == "CopyFail") return framed('f', z(at(1)));
  return Error(Errc::kSyntax, "no such message: " + kind);
}

std::string_view BackendMessage::name() const {
  static const std::map<char, std::string_view> kNames{
      {'R', "Authentication"},  {'S', "ParameterStatus"}, {'K', "BackendKeyData"},
      {'Z', "ReadyForQuery"},   {'T', "RowDescription"},  {'t', "ParameterDescription"},
      {'n', "NoData"},          {'1', "ParseComplete"},   {'2', "BindComplete"},
      {'3', "CloseComplete"},   {'s', "PortalSuspended"}, {'I', "EmptyQueryResponse"},
      {'C', "CommandComplete"}, {'D', "DataRow"},         {'G', "CopyInResponse"},
      {'H', "CopyOutResponse"}, {'d', "CopyData"},        {'c', "CopyDone"},
      {'E', "ErrorResponse"},   {'N', "NoticeResponse"},  {'v', "NegotiateProtocolVersion"}};
  const auto it = kNames.find(type);
  return it == kNames.end() ? "Unknown" : it->second;
}

std::string BackendMessage::to_line() const {
  const std::string out(name());
  Cursor in(body);
  switch (type) {
    case 'R':
      return out + " " + std::to_string(in.u32());
    case 'S': {
      const std::string key(in.cstring());
      return out + " " + key + " " + in_quotes(in.cstring());
    }
    case 'Z':
      return out + " " + body;
    case 'T':
      return out + fields_text(in);
    case 't': {
      std::string types;
      for (int n = in.u16(); n > 0 && in.ok(); --n) types += " " + std::to_string(in.u32());
      return out + types;
    }
    case 'C':
      return out + " " + in_quotes(in.cstring());
    case 'D':
      return out + row_text(in);
    case 'd':
      return out + " " + in_quotes(body);
    case 'G':
    case 'H':
      in.u8();
      return out + " " + std::to_string(in.u16());
    case 'E':
    case 'N':
      return out + error_text(in);
    case 'v':
      return out + " " + std::to_string(in.u32()) + " " + std::to_string(in.u32());
    default:
      return out;
  }
}

}  // namespace outlast::testing
