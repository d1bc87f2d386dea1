#include "sql/session/settings_table.h"

namespace outlast::sql {
namespace {
using K = SettingKind;
constexpr std::string_view kVersion = "15.0 (Outlast " OUTLAST_VERSION ")";
constexpr SettingRow kTable[] = {
    {"application_name", K::kText, "", true, "Name of the application, for people."},
    {"backslash_quote", K::kOneOf, "safe_encoding", false, "Accepted and without effect.", "safe_encoding|on|off"},
    {"bytea_output", K::kOneOf, "hex", false, "Text form of bytea: hex.", "hex"},
    {"check_function_bodies", K::kBool, "on", false, "Accepted and without effect."},
    {"client_encoding", K::kEncoding, "UTF8", true, "Always UTF8."},
    {"client_min_messages", K::kOneOf, "notice", false, "Least severe message that is sent.",
     "debug5|debug4|debug3|debug2|debug1|debug|log|notice|warning|error"},
    {"datestyle", K::kDateStyle, "ISO, MDY", true, "Form of dates: ISO."},
    {"default_table_access_method", K::kText, "heap", false, "Accepted and without effect."},
    {"default_tablespace", K::kText, "", false, "Accepted and without effect."},
    {"default_transaction_deferrable", K::kBool, "off", false, "Accepted and without effect."},
    {"default_transaction_isolation", K::kIsolation, "serializable", false,
     "Level named by the client; every transaction is serializable."},
    {"default_transaction_read_only", K::kBool, "off", true, "New transactions refuse to write."},
    {"escape_string_warning", K::kBool, "on", false, "Accepted and without effect."},
    {"extra_float_digits", K::kInteger, "1", false, "Accepted; floats are always shortest-exact.", {}, -15, 3},
    {"idle_in_transaction_session_timeout", K::kTime, "0", false, "Longest wait for a client inside a transaction."},
    {"idle_session_timeout", K::kTime, "0", false, "Longest wait for a client outside a transaction."},
    {"in_hot_standby", K::kReadOnly, "off", true, "Always off: every gateway takes writes."},
    {"integer_datetimes", K::kReadOnly, "on", true, "Always on."},
    {"intervalstyle", K::kOneOf, "postgres", true, "Form of intervals.", "postgres"},
    {"is_superuser", K::kReadOnly, "on", true, "Whether the user may do everything."},
    {"jit", K::kBool, "off", false, "Accepted and without effect."},
    {"lc_collate", K::kReadOnly, "C", false, "Order of text: by bytes."},
    {"lc_ctype", K::kReadOnly, "C", false, "Kinds of characters."},
    {"lc_messages", K::kText, "C", false, "Accepted and without effect."},
    {"lc_monetary", K::kText, "C", false, "Accepted and without effect."},
    {"lc_numeric", K::kText, "C", false, "Accepted and without effect."},
    {"lc_time", K::kText, "C", false, "Accepted and without effect."},
    {"lock_timeout", K::kTime, "5s", false, "Longest wait for the writer lock."},
    {"maintenance_work_mem", K::kText, "64MB", false, "Accepted and without effect."},
    {"max_identifier_length", K::kReadOnly, "63", false, "Longest name."},
    {"role", K::kText, "none", false, "Accepted and without effect."},
    {"row_security", K::kBool, "on", false, "Accepted and without effect."},
    {"search_path", K::kText, "\"$user\", public", false, "Accepted; there is one schema, public."},
    {"seed", K::kText, "unavailable", false, "Accepted and without effect."},
    {"server_encoding", K::kReadOnly, "UTF8", true, "Always UTF8."},
    {"server_version", K::kReadOnly, kVersion, true, "PostgreSQL version that this server speaks like."},
    {"server_version_num", K::kReadOnly, "150000", false, "The same as a number."},
    {"session_authorization", K::kReadOnly, "", true, "The user of this session."},
    {"standard_conforming_strings", K::kOnlyOn, "on", true, "Backslashes in '…' are ordinary."},
    {"statement_timeout", K::kTime, "0", false, "Longest time for one statement."},
    {"synchronous_commit", K::kOneOf, "on", false, "Accepted; every commit is durable.",
     "on|off|local|remote_write|remote_apply|true|false"},
    {"timezone", K::kText, "UTC", true, "Accepted; times are shown in UTC."},
    {"transaction_deferrable", K::kBool, "off", false, "Accepted and without effect."},
    {"transaction_isolation", K::kIsolation, "serializable", false,
     "Level named by the client; every transaction is serializable."},
    {"transaction_read_only", K::kBool, "off", false, "This transaction refuses to write."},
    {"work_mem", K::kText, "4MB", false, "Accepted and without effect."},
    {"xmloption", K::kOneOf, "content", false, "Accepted and without effect.", "content|document"},
};
}  // namespace

std::span<const SettingRow> setting_table() {
  return kTable;
}

}  // namespace outlast::sql
