#pragma once
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pgtree/names.h"
#include "pgtree/tree.h"
#include "sql/translate/translate.h"

namespace outlast::sql {
namespace tree = pgtree;
using pgtree::join_list;
using pgtree::quote_name;
using pgtree::quote_text;
using pgtree::target_name;

/// Pseudo-type of the translator: a number whose exact type depends on columns that it does not know.
inline constexpr Oid kSomeNumber = 0xFFFF'FFF0;

/// An emitted SQLite expression and what is known of it.
struct Expression {
  std::string sql;
  Oid type{0};  ///< 0: unknown; oid::kUnknown: a quoted literal or NULL whose type the context decides.
  std::int32_t typmod{-1};
  bool column{false};                  ///< A column, whose affinity SQLite applies in comparisons.
  int parameter{0};                    ///< n of a bare $n.
  std::optional<std::string> literal;  ///< Text of a quoted literal.
};

/// One item of a FROM list whose columns are known because the statement itself makes them.
struct Source {
  std::string name;
  bool columns_known{false};
  std::vector<Expression> columns;  ///< Types (sql: the expression to put in its place when `inlined`).
  std::vector<std::string> column_names;
  bool merged{false};   ///< Right side of USING or NATURAL: "*" leaves some of its columns out.
  bool inlined{false};  ///< LATERAL (SELECT expressions): no FROM item, its columns are written out.
};

/// A name scope: one SELECT, UPDATE, DELETE.
struct Scope {
  std::vector<Source> sources;
};

/// Walks one statement and writes SQLite's text. The first refusal sticks and ends up as the statement's error; what is
/// written after it is never used, so walkers go on without checking. One object serves one statement.
/// The methods live in one file per family: select.cc, from.cc, expr.cc, operators.cc, functions_map.cc, types_map.cc,
/// dml.cc, ddl.cc, alter.cc, utility.cc, grouping.cc.
class Translator {
 public:
  using Node = tree::Node;
  /// All three outlive the translator.
  Translator(std::string_view text, const std::vector<Oid>& parameters, const SessionNames& names)
      : text_(text), out_{}, declared_(parameters), session_(names) {}
  Result<Translated> run(const PgQuery__RawStmt& statement);

 private:
  // Refusals.
  void refuse(Errc code, std::string message, int location = -1);
  void refuse_node(const Node* node, std::string_view where);
  bool failed() const { return error_.has_value(); }
  /// Refuses when `message` has a clause set that is not in `handled`.
  template <class M>
  void only(const M& message, std::initializer_list<std::string_view> handled) {
    only_fields(message.base, handled);
  }
  void only_fields(const tree::Message& message, std::initializer_list<std::string_view> handled);
  Error error_at(Error error, int location) const;

  // select.cc, from.cc, grouping.cc
  struct Selected {
    std::string sql;
    bool columns_known{true};
    std::vector<Expression> columns;
    std::vector<std::string> names;
  };
  Selected query(const Node* node);  ///< SELECT, or a data-changing statement where PostgreSQL allows one.
  Selected select(const PgQuery__SelectStmt& stmt);
  Selected set_operation(const PgQuery__SelectStmt& stmt);
  Selected values(const PgQuery__SelectStmt& stmt);
  Selected plain_select(const PgQuery__SelectStmt& stmt);
  std::string set_operand(const PgQuery__SelectStmt& stmt, bool left, Selected& shape);
  void select_clauses(const PgQuery__SelectStmt& stmt, std::string& sql);
  std::string order_and_limit(const PgQuery__SelectStmt& stmt);
  std::string order_by(std::span<Node* const> clause);
  std::string with_clause(const PgQuery__WithClause* with);
  std::string common_table(const PgQuery__CommonTableExpr& cte, bool recursive);
  void locking(const PgQuery__SelectStmt& stmt);
  std::string target_list(std::span<Node* const> targets, Selected& out);
  void star_target(const PgQuery__ColumnRef& ref, Selected& out);
  std::string from_list(std::span<Node* const> items);
  std::string from_item(const Node* item, bool inner_list);
  std::string range_var(const PgQuery__RangeVar& table);
  std::string range_subselect(const PgQuery__RangeSubselect& sub);
  std::string range_function(const PgQuery__RangeFunction& function);
  std::string generate_series(const PgQuery__FuncCall& call, const std::string& column, Source& source);
  std::string join(const PgQuery__JoinExpr& join);
  std::string table_name(const PgQuery__RangeVar& table, bool may_be_catalog);
  void add_source(Source source);
  void check_grouping(const PgQuery__SelectStmt& stmt);
  void check_grouped(const Node& node, const PgQuery__SelectStmt& stmt, const std::set<std::string>& aliases);

  // expr.cc, operators.cc
  Expression expr(const Node* node);
  Expression expr_inner(const Node* node);
  std::string condition(const Node* node, std::string_view where);
  std::vector<Expression> exprs(std::span<Node* const> nodes);
  Expression constant(const PgQuery__AConst& value);
  Expression column_ref(const PgQuery__ColumnRef& ref);
  Expression param_ref(const PgQuery__ParamRef& ref);
  Expression bool_expr(const PgQuery__BoolExpr& e);
  Expression case_expr(const PgQuery__CaseExpr& e);
  /// At most one row whatever the data.
  static bool single_row(const Node* node);
  Expression sub_link(const PgQuery__SubLink& link);
  Expression value_function(const PgQuery__SQLValueFunction& f);
  Expression boolean_test(const PgQuery__BooleanTest& test);
  Expression null_test(const PgQuery__NullTest& test);
  Expression row_expr(const PgQuery__RowExpr& row);
  Expression array_expr(const PgQuery__AArrayExpr& array);
  Expression min_max(const PgQuery__MinMaxExpr& e);
  Expression a_expr(const PgQuery__AExpr& e);
  Expression binary(const PgQuery__AExpr& e, const std::string& op);
  Expression unary(const PgQuery__AExpr& e, const std::string& op);
  Expression arithmetic(const std::string& op, Expression l, Expression r, int location);
  Expression comparison(const std::string& op, Expression l, Expression r);
  Expression concatenation(Expression l, Expression r);
  static Expression json_part(const std::string& op, const Expression& l, const Expression& r);
  Expression like(const PgQuery__AExpr& e);
  Expression in_list(const PgQuery__AExpr& e);
  Expression between(const PgQuery__AExpr& e);
  Expression any_all(const PgQuery__AExpr& e);
  std::string operator_name(const PgQuery__AExpr& e);
  /// Gives parameters and quoted literals on one side the type of the other; compares as PostgreSQL would.
  void unify(Expression& l, Expression& r);
  void unify_all(std::vector<Expression>& list);
  void set_parameter(Expression& e, Oid type);
  /// A quoted literal as a value of `type`; other expressions stay as they are.
  Expression coerce_literal(Expression e, Oid type, int location = -1);
  Expression as_text(Expression e);

  // types_map.cc
  struct ResolvedType {
    Oid oid{0};
    std::int32_t typmod{-1};
    bool serial{false}, array{false};
  };
  std::optional<ResolvedType> resolve_type(const PgQuery__TypeName& type);
  Expression cast(const PgQuery__TypeCast& e);
  Expression cast_to(Expression e, const ResolvedType& type, int location);
  Expression regclass_cast(Expression e);

  // functions_map.cc
  Expression func_call(const PgQuery__FuncCall& call);
  Expression aggregate(const PgQuery__FuncCall& call, const std::string& name);
  Expression catalog_function(const PgQuery__FuncCall& call, const std::string& name, std::vector<Expression>& args,
                              bool& known);
  /// current_user and its like: the same for the whole session, so they are written as values.
  Expression session_value(const std::string& value, int location);
  Expression special_function(const PgQuery__FuncCall& call, const std::string& name, std::vector<Expression>& args,
                              bool& known);
  std::string over(const PgQuery__WindowDef& window);
  std::string frame(const PgQuery__WindowDef& window);
  static bool is_aggregate(std::string_view name);

  // dml.cc
  Selected insert(const PgQuery__InsertStmt& stmt);
  Selected update(const PgQuery__UpdateStmt& stmt);
  Selected delete_from(const PgQuery__DeleteStmt& stmt);
  std::string insert_columns(const PgQuery__InsertStmt& stmt, std::vector<bool>& defaulted);
  std::string insert_rows(const PgQuery__SelectStmt& values, const std::vector<bool>& defaulted);
  std::string on_conflict(const PgQuery__OnConflictClause& clause);
  std::string assignments(std::span<Node* const> targets);
  std::string multi_assignment(std::span<Node* const> targets, std::size_t& i);
  std::string returning(std::span<Node* const> list, Selected& out);

  // ddl.cc, alter.cc
  void create_table(const PgQuery__CreateStmt& stmt);
  std::string column_definition(const PgQuery__ColumnDef& column, const std::string& table, bool adding);
  std::string column_constraint(const PgQuery__Constraint& c, const std::string& column, const std::string& table);
  std::string table_constraint(const PgQuery__Constraint& c, const std::string& table, std::vector<std::string>& keys);
  std::string references(const PgQuery__Constraint& c);
  std::string type_checks(const std::string& column, const ResolvedType& type);
  std::string default_value(const Node* value, const ResolvedType& type, const std::string& column);
  void sequence_for(const std::string& table, const std::string& column, std::string& definition);
  void create_table_as(const PgQuery__CreateTableAsStmt& stmt);
  void create_index(const PgQuery__IndexStmt& stmt);
  void create_view(const PgQuery__ViewStmt& stmt);
  void create_sequence(const PgQuery__CreateSeqStmt& stmt);
  void drop(const PgQuery__DropStmt& stmt);
  void truncate(const PgQuery__TruncateStmt& stmt);
  void alter_table(const PgQuery__AlterTableStmt& stmt);
  void alter_command(const PgQuery__AlterTableCmd& cmd, const std::string& table);
  void add_constraint(const PgQuery__Constraint& c, const std::string& table);
  void rename(const PgQuery__RenameStmt& stmt);
  void check_column_name(const std::string& name, int location);
  void check_object_name(const std::string& name, int location);

  // utility.cc
  bool utility(const Node* node);
  bool session_command(const Node* node);
  void transaction(const PgQuery__TransactionStmt& stmt);
  void alter_database(const PgQuery__AlterDatabaseSetStmt& stmt);
  void set_variable(const PgQuery__VariableSetStmt& stmt);
  void set_transaction(std::span<Node* const> options, bool session);
  void begin_options(std::span<Node* const> options);
  void copy(const PgQuery__CopyStmt& stmt);
  void copy_option(const PgQuery__DefElem& option, CopySpec& spec);
  void cursor(const PgQuery__DeclareCursorStmt& stmt);
  void explain(const PgQuery__ExplainStmt& stmt);
  void fetch(const PgQuery__FetchStmt& stmt);
  void execute(const PgQuery__ExecuteStmt& stmt);
  void prepare(const PgQuery__PrepareStmt& stmt);
  void deallocate(const std::string& name);
  std::string argument_text(const Node* node);
  std::string deparse(const Node* node);
  void nothing(std::string tag);

  void statement(const Node* node);
  void rows_statement(Selected result, StatementKind kind, std::string tag, bool rows);

  std::string_view text_;  ///< The whole string of the client: positions count in it.
  std::string_view source_;
  Translated out_;
  const std::vector<Oid>& declared_;
  const SessionNames& session_;
  std::map<int, Oid> parameters_;
  std::optional<Error> error_;
  std::vector<Scope> scopes_;
  std::vector<std::vector<Source>> ctes_;
  int depth_{0};
  bool reads_catalog_{false}, reads_user_{false};
  bool in_ddl_expression_{false};  ///< CHECK, DEFAULT, index: no parameters, no subqueries, no changing functions.
  bool in_default_{false};         ///< DEFAULT: functions may change (now(), random()).
  bool sequence_allowed_{false};   ///< nextval may be written: DEFAULT, values of INSERT and UPDATE.
  bool in_view_{false};            ///< CREATE VIEW: calculated columns get a type that comparisons can see.
  bool delimiter_given_{false}, null_given_{false};  ///< COPY options that csv would default otherwise.
};

bool is_number(Oid type);  ///< An integer, a float, numeric or kSomeNumber.
bool is_integer(Oid type);
bool is_text(Oid type);  ///< text, varchar, char, name.
bool is_time(Oid type);  ///< date, time, timestamp, timestamptz.
/// Tables of pg_catalog and information_schema that Outlast answers (sql/catalog/schema.cc has their columns).
bool is_catalog_table(std::string_view name);
bool is_information_table(std::string_view name);

}  // namespace outlast::sql
