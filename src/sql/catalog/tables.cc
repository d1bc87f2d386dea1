#include "sql/catalog/tables.h"

#include <array>

#include "sql/translate/translator.h"

namespace outlast::sql {
namespace {

/// The relations of pg_catalog that Outlast answers, with PostgreSQL 15's columns in its order. Those that Outlast has
/// nothing for stay empty.
constexpr CatalogTable kTables[] = {
    {"pg_class",
     "oid relname relnamespace reltype reloftype relowner relam relfilenode reltablespace relpages "
     "reltuples relallvisible reltoastrelid relhasindex relisshared relpersistence relkind relnatts "
     "relchecks relhasrules relhastriggers relhassubclass relrowsecurity relforcerowsecurity "
     "relispopulated relreplident relispartition relrewrite relfrozenxid relminmxid relacl reloptions "
     "relpartbound"},
    {"pg_namespace", "oid nspname nspowner nspacl"},
    {"pg_attribute",
     "attrelid attname atttypid attstattarget attlen attnum attndims attcacheoff atttypmod attbyval "
     "attalign attstorage attcompression attnotnull atthasdef atthasmissing attidentity attgenerated "
     "attisdropped attislocal attinhcount attcollation attacl attoptions attfdwoptions attmissingval"},
    {"pg_attrdef", "oid adrelid adnum adbin"},
    {"pg_index",
     "indexrelid indrelid indnatts indnkeyatts indisunique indnullsnotdistinct indisprimary "
     "indisexclusion indimmediate indisclustered indisvalid indcheckxmin indisready indislive "
     "indisreplident indkey indcollation indclass indoption indexprs indpred"},
    {"pg_constraint",
     "oid conname connamespace contype condeferrable condeferred convalidated conrelid contypid "
     "conindid conparentid confrelid confupdtype confdeltype confmatchtype conislocal coninhcount "
     "connoinherit conkey confkey conpfeqop conppeqop conffeqop confdelsetcols conexclop conbin"},
    {"pg_type",
     "oid typname typnamespace typowner typlen typbyval typtype typcategory typispreferred "
     "typisdefined typdelim typrelid typsubscript typelem typarray typinput typoutput typreceive "
     "typsend typmodin typmodout typanalyze typalign typstorage typnotnull typbasetype typtypmod "
     "typndims typcollation typdefaultbin typdefault typacl"},
    {"pg_am", "oid amname amhandler amtype"},
    {"pg_database",
     "oid datname datdba encoding datlocprovider datistemplate datallowconn datconnlimit datfrozenxid "
     "datminmxid dattablespace datcollate datctype daticulocale datcollversion datacl"},
    {"pg_roles",
     "rolname rolsuper rolinherit rolcreaterole rolcreatedb rolcanlogin rolreplication rolconnlimit "
     "rolpassword rolvaliduntil rolbypassrls rolconfig oid"},
    {"pg_auth_members", "roleid member grantor admin_option"},
    {"pg_proc",
     "oid proname pronamespace proowner prolang procost prorows provariadic prosupport prokind "
     "prosecdef proleakproof proisstrict proretset provolatile proparallel pronargs pronargdefaults "
     "prorettype proargtypes proallargtypes proargmodes proargnames proargdefaults protrftypes prosrc "
     "probin prosqlbody proconfig proacl"},
    {"pg_description", "objoid classoid objsubid description"},
    {"pg_shdescription", "objoid classoid description"},
    {"pg_collation",
     "oid collname collnamespace collowner collprovider collisdeterministic collencoding collcollate "
     "collctype colliculocale collversion"},
    {"pg_inherits", "inhrelid inhparent inhseqno inhdetachpending"},
    {"pg_policy", "oid polname polrelid polcmd polpermissive polroles polqual polwithcheck"},
    {"pg_statistic_ext", "oid stxrelid stxname stxnamespace stxowner stxstattarget stxkeys stxkind stxexprs"},
    {"pg_publication", "oid pubname pubowner puballtables pubinsert pubupdate pubdelete pubtruncate pubviaroot"},
    {"pg_publication_rel", "oid prpubid prrelid prqual prattrs"},
    {"pg_publication_namespace", "oid pnpubid pnnspid"},
    {"pg_partitioned_table", "partrelid partstrat partnatts partdefid partattrs partclass partcollation partexprs"},
    {"pg_trigger",
     "oid tgrelid tgparentid tgname tgfoid tgtype tgenabled tgisinternal tgconstrrelid tgconstrindid "
     "tgconstraint tgdeferrable tginitdeferred tgnargs tgattr tgargs tgqual tgoldtable tgnewtable"},
    {"pg_rewrite", "oid rulename ev_class ev_type ev_enabled is_instead ev_qual ev_action"},
    {"pg_tablespace", "oid spcname spcowner spcacl spcoptions"},
    {"pg_sequence", "seqrelid seqtypid seqstart seqincrement seqmax seqmin seqcache seqcycle"},
    {"pg_enum", "oid enumtypid enumsortorder enumlabel"},
    {"pg_range", "rngtypid rngsubtype rngmultitypid rngcollation rngsubopc rngcanonical rngsubdiff"},
    {"pg_depend", "classid objid objsubid refclassid refobjid refobjsubid deptype"},
    {"pg_extension", "oid extname extowner extnamespace extrelocatable extversion extconfig extcondition"},
    {"pg_language", "oid lanname lanowner lanispl lanpltrusted lanplcallfoid laninline lanvalidator lanacl"},
    {"pg_aggregate",
     "aggfnoid aggkind aggnumdirectargs aggtransfn aggfinalfn aggcombinefn aggserialfn aggdeserialfn "
     "aggmtransfn aggminvtransfn aggmfinalfn aggfinalextra aggmfinalextra aggfinalmodify "
     "aggmfinalmodify aggsortop aggtranstype aggtransspace aggmtranstype aggmtransspace agginitval "
     "aggminitval"},
    {"pg_foreign_table", "ftrelid ftserver ftoptions"},
    {"pg_foreign_server", "oid srvname srvowner srvfdw srvtype srvversion srvacl srvoptions"},
    {"pg_user", "usename usesysid usecreatedb usesuper userepl usebypassrls passwd valuntil useconfig"},
    {"pg_settings",
     "name setting unit category short_desc extra_desc context vartype source min_val max_val "
     "enumvals boot_val reset_val sourcefile sourceline pending_restart"},
    {"pg_tables", "schemaname tablename tableowner tablespace hasindexes hasrules hastriggers rowsecurity"},
    {"pg_views", "schemaname viewname viewowner definition"},
    {"pg_indexes", "schemaname tablename indexname tablespace indexdef"},
    {"pg_event_trigger", "oid evtname evtevent evtowner evtfoid evtenabled evttags"},
    {"pg_authid",
     "oid rolname rolsuper rolinherit rolcreaterole rolcreatedb rolcanlogin rolreplication "
     "rolbypassrls rolconnlimit rolpassword rolvaliduntil"},
    {"pg_db_role_setting", "setdatabase setrole setconfig"},
    {"pg_opclass", "oid opcmethod opcname opcnamespace opcowner opcfamily opcintype opcdefault opckeytype"},
    {"pg_operator",
     "oid oprname oprnamespace oprowner oprkind oprcanmerge oprcanhash oprleft oprright oprresult "
     "oprcom oprnegate oprcode oprrest oprjoin"},
    {"pg_cast", "oid castsource casttarget castfunc castcontext castmethod"},
    {"pg_default_acl", "oid defaclrole defaclnamespace defaclobjtype defaclacl"},
    {"pg_stat_user_tables",
     "relid schemaname relname seq_scan seq_tup_read idx_scan idx_tup_fetch n_tup_ins n_tup_upd "
     "n_tup_del n_tup_hot_upd n_live_tup n_dead_tup n_mod_since_analyze n_ins_since_vacuum "
     "last_vacuum last_autovacuum last_analyze last_autoanalyze vacuum_count autovacuum_count "
     "analyze_count autoanalyze_count"},
    {"pg_stat_activity",
     "datid datname pid leader_pid usesysid usename application_name client_addr client_hostname "
     "client_port backend_start xact_start query_start state_change wait_event_type wait_event state "
     "backend_xid backend_xmin query_id query backend_type"},
    {"pg_matviews", "schemaname matviewname matviewowner tablespace hasindexes ispopulated definition"},
};

/// Of information_schema.
constexpr CatalogTable kInformationTables[] = {
    {"tables",
     "table_catalog table_schema table_name table_type self_referencing_column_name reference_generation "
     "user_defined_type_catalog user_defined_type_schema user_defined_type_name is_insertable_into is_typed "
     "commit_action"},
    {"columns",
     "table_catalog table_schema table_name column_name ordinal_position column_default is_nullable data_type "
     "character_maximum_length character_octet_length numeric_precision numeric_precision_radix numeric_scale "
     "datetime_precision udt_catalog udt_schema udt_name is_identity is_generated is_updatable"},
    {"schemata", "catalog_name schema_name schema_owner"},
    {"table_constraints",
     "constraint_catalog constraint_schema constraint_name table_catalog table_schema table_name "
     "constraint_type is_deferrable initially_deferred"},
};

}  // namespace

std::span<const CatalogTable> catalog_tables() {
  return kTables;
}
std::span<const CatalogTable> information_tables() {
  return kInformationTables;
}

bool is_catalog_table(std::string_view name) {
  for (const CatalogTable& table : kTables)
    if (table.name == name) return true;
  return false;
}

bool is_information_table(std::string_view name) {
  for (const CatalogTable& table : kInformationTables)
    if (table.name == name) return true;
  return false;
}

}  // namespace outlast::sql
