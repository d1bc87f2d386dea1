#include <limits>

#include "pgtree/parse.h"
#include "sql/translate/translator.h"

namespace outlast::sql {

void Translator::nothing(std::string tag) {
  out_.kind = StatementKind::kNothing, out_.tag = std::move(tag);
}

/// Statements that change or define; false when `node` is of another family.
bool Translator::utility(const Node* node) {
  switch (node->node_case) {
    case PG_NODE(CREATE_STMT):
      return create_table(*node->create_stmt), true;
    case PG_NODE(CREATE_TABLE_AS_STMT):
      return create_table_as(*node->create_table_as_stmt), true;
    case PG_NODE(INDEX_STMT):
      return create_index(*node->index_stmt), true;
    case PG_NODE(VIEW_STMT):
      return create_view(*node->view_stmt), true;
    case PG_NODE(CREATE_SEQ_STMT):
      return create_sequence(*node->create_seq_stmt), true;
    case PG_NODE(DROP_STMT):
      return drop(*node->drop_stmt), true;
    case PG_NODE(TRUNCATE_STMT):
      return truncate(*node->truncate_stmt), true;
    case PG_NODE(ALTER_TABLE_STMT):
      return alter_table(*node->alter_table_stmt), true;
    case PG_NODE(RENAME_STMT):
      return rename(*node->rename_stmt), true;
    case PG_NODE(COPY_STMT):
      return copy(*node->copy_stmt), true;
    case PG_NODE(VACUUM_STMT):
      return nothing(node->vacuum_stmt->is_vacuumcmd ? "VACUUM" : "ANALYZE"), true;
    case PG_NODE(COMMENT_STMT):
      return nothing("COMMENT"), true;
    case PG_NODE(GRANT_STMT):
      return nothing(node->grant_stmt->is_grant ? "GRANT" : "REVOKE"), true;
    case PG_NODE(GRANT_ROLE_STMT):
      return nothing(node->grant_role_stmt->is_grant ? "GRANT ROLE" : "REVOKE ROLE"), true;
    case PG_NODE(REINDEX_STMT):
      return nothing("REINDEX"), true;
    case PG_NODE(CLUSTER_STMT):
      return nothing("CLUSTER"), true;
    case PG_NODE(CHECK_POINT_STMT):
      return nothing("CHECKPOINT"), true;
    case PG_NODE(ALTER_OWNER_STMT):
      return nothing("ALTER"), true;
    case PG_NODE(CONSTRAINTS_SET_STMT):
      return nothing("SET CONSTRAINTS"), true;
    case PG_NODE(CREATE_SCHEMA_STMT):
      if (std::string_view(node->create_schema_stmt->schemaname) == "public" && node->create_schema_stmt->if_not_exists)
        return nothing("CREATE SCHEMA"), true;
      refuse(Errc::kUndefinedObject, "schemas are not supported; every table lives in \"public\"");
      return true;
    case PG_NODE(CREATEDB_STMT):
      only(*node->createdb_stmt, {"dbname", "options"});
      if (node->createdb_stmt->n_options > 0)
        refuse(Errc::kSyntax, "CREATE DATABASE takes no options here; every database is UTF8 with collation C");
      out_.kind = StatementKind::kCreateDatabase, out_.tag = "CREATE DATABASE", out_.name = node->createdb_stmt->dbname;
      return true;
    case PG_NODE(ALTER_DATABASE_SET_STMT):
      return alter_database(*node->alter_database_set_stmt), true;
    case PG_NODE(DROPDB_STMT):
      only(*node->dropdb_stmt, {"dbname", "missing_ok"});
      out_.kind = StatementKind::kDropDatabase, out_.tag = "DROP DATABASE", out_.name = node->dropdb_stmt->dbname;
      out_.if_exists = node->dropdb_stmt->missing_ok;
      return true;
    case PG_NODE(LOCK_STMT): {
      const auto& lock = *node->lock_stmt;
      if (lock.nowait) refuse(Errc::kSyntax, "NOWAIT is not supported; use lock_timeout");
      for (const Node* table : PG_LIST(&lock, relations))
        out_.sql.push_back("SELECT 1 FROM " + table_name(*table->range_var, false) + " LIMIT 0");
      nothing("LOCK TABLE");
      out_.locks_rows = true;
      return true;
    }
    default:
      return false;
  }
}

/// Statements that the session answers itself.
bool Translator::session_command(const Node* node) {
  switch (node->node_case) {
    case PG_NODE(TRANSACTION_STMT):
      return transaction(*node->transaction_stmt), true;
    case PG_NODE(VARIABLE_SET_STMT):
      return set_variable(*node->variable_set_stmt), true;
    case PG_NODE(VARIABLE_SHOW_STMT):
      out_.kind = StatementKind::kShow, out_.tag = "SHOW", out_.returns_rows = true;
      out_.name = node->variable_show_stmt->name, out_.all = out_.name == "all";
      return true;
    case PG_NODE(PREPARE_STMT):
      return prepare(*node->prepare_stmt), true;
    case PG_NODE(EXECUTE_STMT):
      return execute(*node->execute_stmt), true;
    case PG_NODE(DEALLOCATE_STMT):
      return deallocate(node->deallocate_stmt->name), true;
    case PG_NODE(DISCARD_STMT):
      out_.kind = StatementKind::kDiscard, out_.all = node->discard_stmt->target == PG_QUERY__DISCARD_MODE__DISCARD_ALL;
      out_.tag = out_.all ? "DISCARD ALL" : "DISCARD";
      return true;
    case PG_NODE(DECLARE_CURSOR_STMT):
      return cursor(*node->declare_cursor_stmt), true;
    case PG_NODE(EXPLAIN_STMT):
      return explain(*node->explain_stmt), true;
    case PG_NODE(FETCH_STMT):
      return fetch(*node->fetch_stmt), true;
    case PG_NODE(CLOSE_PORTAL_STMT):
      out_.kind = StatementKind::kCloseCursor, out_.tag = "CLOSE CURSOR",
      out_.name = node->close_portal_stmt->portalname;
      out_.all = out_.name.empty();
      if (out_.all) out_.tag = "CLOSE CURSOR ALL";
      return true;
    default:
      return false;
  }
}

void Translator::transaction(const PgQuery__TransactionStmt& stmt) {
  only(stmt, {"kind", "options", "savepoint_name"});
  out_.name = stmt.savepoint_name;
  switch (stmt.kind) {
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN:
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_START:
      out_.kind = StatementKind::kBegin;
      out_.tag = stmt.kind == PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_BEGIN ? "BEGIN" : "START TRANSACTION";
      return begin_options(PG_LIST(&stmt, options));
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_COMMIT:
      out_.kind = StatementKind::kCommit, out_.tag = "COMMIT";
      return;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK:
      out_.kind = StatementKind::kRollback, out_.tag = "ROLLBACK";
      return;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_SAVEPOINT:
      out_.kind = StatementKind::kSavepoint, out_.tag = "SAVEPOINT";
      return;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_RELEASE:
      out_.kind = StatementKind::kRelease, out_.tag = "RELEASE";
      return;
    case PG_QUERY__TRANSACTION_STMT_KIND__TRANS_STMT_ROLLBACK_TO:
      out_.kind = StatementKind::kRollbackTo, out_.tag = "ROLLBACK";
      return;
    default:
      refuse(Errc::kSyntax, "two-phase commit is not supported; use an ordinary COMMIT");
  }
}

/// Every isolation level is served as SERIALIZABLE; READ ONLY is kept; DEFERRABLE has nothing to defer.
void Translator::begin_options(std::span<Node* const> options) {
  for (const Node* node : options) {
    const auto& option = *node->def_elem;
    if (std::string_view(option.defname) == "transaction_read_only" && option.arg != nullptr)
      out_.read_only = argument_text(option.arg) == "1";
  }
}

std::string Translator::argument_text(const Node* node) {
  if (node->node_case == PG_NODE(A_CONST)) {
    const auto& c = *node->a_const;
    if (c.isnull) return "";
    switch (c.val_case) {
      case PG_QUERY__A__CONST__VAL_IVAL:
        return std::to_string(c.ival->ival);
      case PG_QUERY__A__CONST__VAL_FVAL:
        return c.fval->fval;
      case PG_QUERY__A__CONST__VAL_BOOLVAL:
        return c.boolval->boolval ? "true" : "false";
      case PG_QUERY__A__CONST__VAL_SVAL:
        return c.sval->sval;
      default:
        break;
    }
  }
  if (node->node_case == PG_NODE(TYPE_CAST)) return argument_text(node->type_cast->arg);
  if (node->node_case == PG_NODE(COLUMN_REF)) return join_list(tree::strings(PG_LIST(node->column_ref, fields)), ".");
  if (node->node_case == PG_NODE(STRING)) return node->string->sval;
  if (node->node_case == PG_NODE(BOOLEAN)) return node->boolean->boolval ? "true" : "false";
  if (node->node_case == PG_NODE(INTEGER)) return std::to_string(node->integer->ival);
  if (node->node_case == PG_NODE(A_EXPR) && node->a_expr->lexpr == nullptr)
    return "-" + argument_text(node->a_expr->rexpr);
  refuse_node(node, "value of a setting");
  return "";
}

/// ALTER DATABASE name SET replication_factor = n | DEFAULT, or RESET replication_factor.
void Translator::alter_database(const PgQuery__AlterDatabaseSetStmt& stmt) {
  set_variable(*stmt.setstmt);
  if (failed()) return;
  const bool reset = out_.kind == StatementKind::kReset;
  if (out_.name != "replication_factor" || out_.all)
    return refuse(Errc::kSyntax,
                  "of a database only its replication_factor can be set here; other settings belong to the session "
                  "(SET) or to the cluster (SET CLUSTER SETTING)");
  out_.kind = StatementKind::kSetReplicationFactor, out_.tag = "ALTER DATABASE", out_.name = stmt.dbname;
  if (reset) out_.value = "0";
}

void Translator::set_variable(const PgQuery__VariableSetStmt& stmt) {
  only(stmt, {"kind", "name", "args", "is_local"});
  out_.kind = StatementKind::kSet, out_.tag = "SET", out_.name = stmt.name, out_.local = stmt.is_local;
  switch (stmt.kind) {
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_VALUE: {
      std::vector<std::string> parts;
      for (const Node* arg : PG_LIST(&stmt, args)) parts.push_back(argument_text(arg));
      out_.value = join_list(parts, ", ");
      return;
    }
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_DEFAULT:
      out_.kind = StatementKind::kReset;
      return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET:
      out_.kind = StatementKind::kReset, out_.tag = "RESET";
      return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_RESET_ALL:
      out_.kind = StatementKind::kReset, out_.tag = "RESET", out_.all = true;
      return;
    case PG_QUERY__VARIABLE_SET_KIND__VAR_SET_MULTI: {
      if (out_.name == "TRANSACTION" || out_.name == "SESSION CHARACTERISTICS")
        return set_transaction(PG_LIST(&stmt, args), out_.name != "TRANSACTION");
      break;
    }
    default:
      break;
  }
  refuse(Errc::kSyntax, "this form of SET is not supported; write SET name = value");
}

/// SET TRANSACTION sets transaction_read_only / transaction_isolation, SET SESSION CHARACTERISTICS their defaults; the
/// last option given is what the session sees, READ ONLY before the isolation level.
void Translator::set_transaction(std::span<Node* const> options, bool session) {
  const std::string prefix = session ? "default_" : "";
  out_.name = prefix + "transaction_isolation", out_.value = "serializable", out_.local = !session;
  bool read_only_given = false;
  for (const Node* node : options) {
    const auto& option = *node->def_elem;
    const std::string name = option.defname;
    if (name == "transaction_isolation" && !read_only_given) out_.value = argument_text(option.arg);
    if (name != "transaction_read_only") continue;
    read_only_given = true;
    out_.name = prefix + "transaction_read_only";
    out_.value = argument_text(option.arg) == "0" ? "off" : "on";
  }
}

void Translator::copy(const PgQuery__CopyStmt& stmt) {
  only(stmt, {"relation", "query", "attlist", "is_from", "filename", "options"});
  CopySpec spec;
  spec.from = stmt.is_from;
  if (*stmt.filename != 0)
    refuse(Errc::kInsufficientPrivilege,
           "COPY to or from a file of the server is not allowed; use \\copy or STDIN/STDOUT");
  if (stmt.relation != nullptr) {
    table_name(*stmt.relation, false);
    spec.table = stmt.relation->relname;
    spec.columns = tree::strings(PG_LIST(&stmt, attlist));
  } else {
    Selected rows = query(stmt.query);
    spec.query_sql = rows.sql;
    if (rows.columns_known)
      for (std::size_t i = 0; i < rows.columns.size(); ++i)
        out_.columns.push_back({.oid = rows.columns[i].type, .typmod = rows.columns[i].typmod, .name = rows.names[i]});
  }
  for (const Node* node : PG_LIST(&stmt, options)) copy_option(*node->def_elem, spec);
  if (spec.csv) {
    if (!delimiter_given_) spec.delimiter = ",";
    if (!null_given_) spec.null_text.clear();
  }
  if (spec.delimiter.size() != 1) refuse(Errc::kInvalidArgument, "COPY delimiter must be a single one-byte character");
  out_.kind = spec.from ? StatementKind::kCopyFrom : StatementKind::kCopyTo;
  out_.tag = "COPY", out_.name = spec.table;
  out_.copy = std::move(spec);
}

void Translator::copy_option(const PgQuery__DefElem& option, CopySpec& spec) {
  const std::string name = option.defname;
  const std::string value = option.arg == nullptr ? "true" : argument_text(option.arg);
  const auto flag = [&] {
    const auto b = parse_pg_bool(value);
    if (!b) refuse(Errc::kSyntax, name + " requires a Boolean value", option.location);
    return b.value_or(false);
  };
  if (name == "format") {
    spec.csv = value == "csv";
    if (value != "csv" && value != "text")
      refuse(Errc::kSyntax, "COPY format \"" + value + "\" is not supported; use text or csv", option.location);
  } else if (name == "delimiter") {
    spec.delimiter = value, delimiter_given_ = true;
  } else if (name == "null") {
    spec.null_text = value, null_given_ = true;
  } else if (name == "header") {
    spec.header = flag();
  } else if (name == "freeze") {
    flag();  // every row is frozen here
  } else if (name == "encoding") {
    if (value != "UTF8" && value != "utf8" && value != "UTF-8" && value != "utf-8")
      refuse(Errc::kSyntax, "COPY encoding must be UTF8", option.location);
  } else if ((name == "quote" && value == "\"") || (name == "escape" && value == "\"")) {
    return;
  } else {
    refuse(Errc::kSyntax, "COPY option \"" + name + "\" is not supported", option.location);
  }
}

/// The query inside PREPARE or DECLARE as text again; it is translated when it is first used.
std::string Translator::deparse(const Node* node) {
  Result<std::string> text = pgtree::deparse(*node);
  if (text.ok()) return std::move(*text);
  refuse(Errc::kSyntax, "the inner statement is not supported here; send it by itself");
  return "";
}

void Translator::prepare(const PgQuery__PrepareStmt& stmt) {
  only(stmt, {"name", "argtypes", "query"});
  out_.kind = StatementKind::kPrepare, out_.tag = "PREPARE", out_.name = stmt.name;
  for (const Node* node : PG_LIST(&stmt, argtypes)) {
    const auto type = resolve_type(*node->type_name);
    out_.parameters.push_back(type ? type->oid : 0);
  }
  out_.inner_sql = deparse(stmt.query);
}

void Translator::execute(const PgQuery__ExecuteStmt& stmt) {
  only(stmt, {"name", "params"});
  out_.kind = StatementKind::kExecute, out_.tag = "EXECUTE", out_.name = stmt.name;
  for (const Node* node : PG_LIST(&stmt, params)) {
    const bool null = node->node_case == PG_NODE(A_CONST) && node->a_const->isnull;
    out_.execute_params.push_back(null ? "" : argument_text(node));
    out_.execute_nulls.push_back(null);
  }
}

void Translator::deallocate(const std::string& name) {
  out_.kind = StatementKind::kDeallocate, out_.name = name, out_.all = name.empty();
  out_.tag = out_.all ? "DEALLOCATE ALL" : "DEALLOCATE";
}

void Translator::cursor(const PgQuery__DeclareCursorStmt& stmt) {
  only(stmt, {"portalname", "options", "query"});
  constexpr int kBinary = 0x1, kScroll = 0x2, kHold = 0x20;
  if ((stmt.options & kBinary) != 0) refuse(Errc::kSyntax, "BINARY cursors are not supported");
  if ((stmt.options & kScroll) != 0) refuse(Errc::kSyntax, "SCROLL cursors are not supported; read forward");
  if ((stmt.options & kHold) != 0)
    refuse(Errc::kSyntax, "WITH HOLD is not supported; use the cursor inside its transaction");
  out_.kind = StatementKind::kDeclareCursor, out_.tag = "DECLARE CURSOR", out_.name = stmt.portalname;
  out_.inner_sql = deparse(stmt.query);
}

/// Options that only change how PostgreSQL writes its plan change nothing here.
void Translator::explain(const PgQuery__ExplainStmt& stmt) {
  for (const Node* option : PG_LIST(&stmt, options))
    if (const std::string_view name = option->def_elem->defname; name == "analyze" || name == "format")
      refuse(Errc::kSyntax, "EXPLAIN " + std::string(name == "analyze" ? "ANALYZE" : "(FORMAT …)") +
                                " is not supported; EXPLAIN shows how a statement would run, as text");
  const auto kind = stmt.query->node_case;
  if (kind != PG_NODE(SELECT_STMT) && kind != PG_NODE(INSERT_STMT) && kind != PG_NODE(UPDATE_STMT) &&
      kind != PG_NODE(DELETE_STMT))
    refuse(Errc::kSyntax, "EXPLAIN takes SELECT, INSERT, UPDATE and DELETE");
  out_.kind = StatementKind::kExplain, out_.tag = "EXPLAIN", out_.returns_rows = true;
  out_.columns.push_back({.oid = oid::kText, .name = "QUERY PLAN"});
  out_.inner_sql = deparse(stmt.query);
}

void Translator::fetch(const PgQuery__FetchStmt& stmt) {
  only(stmt, {"direction", "how_many", "portalname", "ismove"});
  out_.kind = StatementKind::kFetch, out_.tag = stmt.ismove ? "MOVE" : "FETCH", out_.name = stmt.portalname;
  if (stmt.ismove) refuse(Errc::kSyntax, "MOVE is not supported; FETCH the rows");
  if (stmt.direction != PG_QUERY__FETCH_DIRECTION__FETCH_FORWARD || stmt.how_many < 0)
    refuse(Errc::kSyntax, "cursors only move forward here; use FETCH FORWARD n");
  out_.fetch_count = stmt.how_many == std::numeric_limits<long>::max() ? -1 : stmt.how_many;
  out_.returns_rows = true;
}

}  // namespace outlast::sql
