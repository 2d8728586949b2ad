//! The built-in functions of MySQL 5.7 to 9.x and MariaDB 10.6 to 11.8, by what they do.
//!
//! The names were taken from both servers' manuals and then checked against MySQL 9.7 and MariaDB
//! 10.11: every word of their programs was called as a function without arguments, and those that
//! did not give error 1305 or 1630 (no such function) or 1064 (a keyword) are built in. In the
//! other direction every name here was called with and without a blank before the parenthesis.
//!
//! A function that is missing here makes its statements go to the primary, which costs load and
//! nothing else. A stored function of a user may have the name of a built-in that only newer
//! servers have, so versions count.

/// What calling a function means for where its statement may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    /// The same answer on every server that has the data, and nothing is changed.
    Harmless,
    /// Not a function: a keyword or type that may stand before a parenthesis.
    Syntax,
    /// FOUND_ROWS, ROW_COUNT: answers about the connection's previous statement.
    Diagnostics,
    LastInsertId,
    ConnectionId,
    /// Answers about the connection itself.
    Connection,
    /// GET_LOCK.
    Locks,
    /// RELEASE_LOCK, RELEASE_ALL_LOCKS.
    Unlocks,
    /// IS_FREE_LOCK, IS_USED_LOCK.
    AsksLock,
    Sequence,
    /// Writes, waits for replication, or reads a file of the server.
    Writes,
    /// Answers about the server: the same everywhere only if all servers are alike.
    Server,
    /// Not in the table; never stored there.
    Unknown,
}

/// The first version that has a function, as version comments count (80004); [`ALWAYS`] for the
/// oldest served version, [`NEVER`] for none.
pub type Since = u32;
pub const ALWAYS: Since = 0;
pub const NEVER: Since = u32::MAX;

/// How many arguments make a call that of the built-in function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    Any,
    Some,
    Two,
}

/// Functions of one class that appeared together.
pub struct Group {
    pub call: Call,
    pub mysql: Since,
    /// The first version of MySQL that has them no more.
    pub mysql_until: Since,
    pub mariadb: Since,
    pub names: &'static [&'static str],
}

const fn group(call: Call, mysql: Since, mariadb: Since, names: &'static [&'static str]) -> Group {
    Group { call, mysql, mysql_until: NEVER, mariadb, names }
}

impl Group {
    const fn until(self, mysql_until: Since) -> Self {
        Group { mysql_until, ..self }
    }
}

/// Functions that are built-ins only with the parenthesis directly behind the name (without
/// IGNORE_SPACE); `count (x)` is a call of a stored function.
#[rustfmt::skip]
pub const GLUED: &[&str] = &[
    "adddate", "bit_and", "bit_or", "bit_xor", "cast", "count", "curdate", "curtime", "date_add", "date_sub",
    "extract", "group_concat", "json_arrayagg", "json_objectagg", "max", "median", "mid", "min", "now",
    "percentile_cont", "percentile_disc", "position", "session_user", "st_collect", "std", "stddev",
    "stddev_pop", "stddev_samp", "subdate", "substr", "substring", "sum", "sysdate", "system_user",
    "trim", "trim_oracle", "var_pop", "var_samp", "variance",
];

/// The same in MariaDB; MySQL reserves these words.
#[rustfmt::skip]
pub const GLUED_IN_MARIADB: &[&str] = &[
    "cume_dist", "dense_rank", "first_value", "lag", "lead", "nth_value", "ntile", "percent_rank", "rank",
];

/// Functions that MariaDB has built in only for so many arguments; with others it calls a stored
/// function of the name.
#[rustfmt::skip]
pub const COUNTED_IN_MARIADB: &[(&str, Arguments)] = &[
    ("geometrycollection", Arguments::Some),
    ("linestring", Arguments::Some),
    ("multilinestring", Arguments::Some),
    ("multipoint", Arguments::Some),
    ("multipolygon", Arguments::Some),
    ("point", Arguments::Two),
    ("polygon", Arguments::Some),
];

/// Every built-in function that is not also a keyword of [`super::words`].
#[rustfmt::skip]
pub const FUNCTIONS: &[Group] = &[
    group(Call::Harmless, ALWAYS, ALWAYS, &[
        // Numbers
        "abs", "acos", "asin", "atan", "atan2", "ceil", "ceiling", "conv", "cos", "cot", "crc32", "degrees",
        "exp", "floor", "format", "greatest", "least", "ln", "log", "log10", "log2", "mod", "oct", "pi", "pow",
        "power", "radians", "rand", "round", "sign", "sin", "sqrt", "tan", "truncate",
        // Text
        "ascii", "bin", "bit_count", "bit_length", "char", "char_length", "character_length", "charset",
        "coercibility", "collation", "concat", "concat_ws", "elt", "export_set", "field", "find_in_set",
        "from_base64", "hex", "instr", "lcase", "left", "length", "locate", "lower", "lpad",
        "ltrim", "make_set", "mid", "octet_length", "ord", "position", "quote", "repeat", "reverse",
        "right", "rpad", "rtrim", "soundex", "space", "strcmp", "substr", "substring",
        "substring_index", "to_base64", "trim", "ucase", "unhex", "upper", "weight_string",
        // Date and time
        "adddate", "addtime", "convert_tz", "curdate", "current_date", "current_time",
        "current_timestamp", "curtime", "date", "date_add", "date_format", "date_sub", "datediff", "day",
        "dayname", "dayofmonth", "dayofweek", "dayofyear", "extract", "from_days", "from_unixtime",
        "get_format", "hour", "last_day", "localtime", "localtimestamp", "makedate", "maketime",
        "microsecond", "minute", "month", "monthname", "now", "period_add", "period_diff", "quarter",
        "sec_to_time", "second", "str_to_date", "subdate", "subtime", "sysdate", "time", "time_format",
        "time_to_sec", "timediff", "timestamp", "timestampadd", "timestampdiff", "to_days",
        "to_seconds", "unix_timestamp", "utc_date", "utc_time", "utc_timestamp", "week", "weekday",
        "weekofyear", "year", "yearweek",
        // Aggregates
        "avg", "bit_and", "bit_or", "bit_xor", "count", "group_concat", "max", "min", "std", "stddev",
        "stddev_pop", "stddev_samp", "sum", "var_pop", "var_samp", "variance",
        // Control flow, types, comparison
        "cast", "coalesce", "convert", "default", "if", "ifnull", "isnull", "name_const", "nullif",
        // Digests, compression, random bytes; waiting and burning time are reads too
        "aes_decrypt", "aes_encrypt", "benchmark", "compress", "sha2", "sleep", "uncompress",
        "uncompressed_length", "uuid",
        // Addresses
        "inet6_aton", "inet6_ntoa", "inet_aton", "inet_ntoa", "is_ipv4", "is_ipv4_compat", "is_ipv4_mapped", "is_ipv6",
        // The session, as it is restored on every connection
        "current_user", "database", "schema", "session_user", "system_user", "user",
        // XML
        "extractvalue", "updatexml",
        // JSON
        "json_array", "json_array_append", "json_array_insert", "json_contains",
        "json_contains_path", "json_depth", "json_extract", "json_insert", "json_keys", "json_length",
        "json_merge", "json_object", "json_quote", "json_remove", "json_replace", "json_search",
        "json_set", "json_type", "json_unquote", "json_valid",
        // Geometry
        "geometrycollection", "linestring", "mbrcontains", "mbrdisjoint", "mbrequals",
        "mbrintersects", "mbroverlaps", "mbrtouches", "mbrwithin", "multilinestring", "multipoint",
        "multipolygon", "point", "polygon", "st_area", "st_asbinary", "st_asgeojson", "st_astext",
        "st_aswkb", "st_aswkt", "st_buffer", "st_centroid", "st_contains", "st_convexhull",
        "st_crosses", "st_difference", "st_dimension", "st_disjoint", "st_distance", "st_endpoint",
        "st_envelope", "st_equals", "st_exteriorring", "st_geomcollfromtext",
        "st_geomcollfromwkb", "st_geometrycollectionfromtext", "st_geometrycollectionfromwkb",
        "st_geometryfromtext", "st_geometryfromwkb", "st_geometryn", "st_geometrytype",
        "st_geomfromgeojson", "st_geomfromtext", "st_geomfromwkb", "st_interiorringn",
        "st_intersection", "st_intersects", "st_isclosed", "st_isempty", "st_issimple", "st_length",
        "st_linefromtext", "st_linefromwkb", "st_linestringfromtext", "st_linestringfromwkb",
        "st_mlinefromtext", "st_mlinefromwkb", "st_mpointfromtext", "st_mpointfromwkb", "st_mpolyfromtext", "st_mpolyfromwkb",
        "st_multilinestringfromtext", "st_multilinestringfromwkb", "st_multipointfromtext",
        "st_multipointfromwkb", "st_multipolygonfromtext", "st_multipolygonfromwkb",
        "st_numgeometries", "st_numinteriorrings", "st_numpoints", "st_overlaps", "st_pointfromtext",
        "st_pointfromwkb", "st_pointn", "st_polyfromtext", "st_polyfromwkb", "st_polygonfromtext",
        "st_polygonfromwkb", "st_srid", "st_startpoint", "st_symdifference", "st_touches", "st_union",
        "st_within", "st_x", "st_y",
    ]),
    group(Call::Harmless, ALWAYS, 101_000, &["random_bytes"]),
    group(Call::Harmless, ALWAYS, 100_612, &["json_pretty"]),
    group(Call::Harmless, ALWAYS, 120_000, &["st_geohash", "st_isvalid", "st_latfromgeohash", "st_longfromgeohash", "st_pointfromgeohash", "st_simplify", "st_validate"]),
    group(Call::Harmless, 50_705, ALWAYS, &["st_distance_sphere"]),
    group(Call::Harmless, 50_722, ALWAYS, &["json_arrayagg", "json_merge_patch", "json_merge_preserve", "json_objectagg"]),
    group(Call::Harmless, ALWAYS, NEVER, &[
        "any_value", "gtid_subset", "gtid_subtract", "mbrcoveredby", "mbrcovers", "st_makeenvelope",
        "st_numinteriorring", "st_geomcollfromtxt",
    ]),
    group(Call::Harmless, 50_722, NEVER, &["json_storage_size"]),
    // Functions of MySQL 8 that MariaDB has had for long
    group(Call::Harmless, 80_000, ALWAYS, &[
        "cume_dist", "current_role", "dense_rank", "first_value", "json_value", "lag", "last_value", "lead",
        "nth_value", "ntile", "percent_rank", "rank", "regexp_instr", "regexp_replace",
        "regexp_substr", "row_number",
    ]),
    group(Call::Harmless, 80_017, 100_900, &["json_overlaps"]),
    group(Call::Harmless, 80_017, 110_100, &["json_schema_valid"]),
    group(Call::Harmless, 80_016, 110_002, &["format_pico_time"]),
    group(Call::Harmless, 80_016, 110_800, &["format_bytes"]),
    group(Call::Harmless, 80_000, NEVER, &[
        "bin_to_uuid", "geomcollection", "grouping", "is_uuid", "json_schema_validation_report",
        "json_storage_free", "regexp_like", "st_buffer_strategy", "st_collect", "st_frechetdistance",
        "st_hausdorffdistance", "st_latitude", "st_lineinterpolatepoint",
        "st_lineinterpolatepoints", "st_longitude", "st_pointatdistance", "st_swapxy",
        "st_transform", "statement_digest", "statement_digest_text", "uuid_to_bin",
    ]),
    group(Call::Harmless, 90_000, NEVER, &[
        "etag", "from_vector", "string_to_vector", "to_vector", "vector_dim", "vector_to_string",
    ]),
    // MariaDB alone
    group(Call::Harmless, NEVER, ALWAYS, &[
        "add_months", "area", "asbinary", "astext", "aswkb", "aswkt", "boundary", "buffer", "centroid", "chr",
        "column_add", "column_check", "column_create", "column_delete", "column_exists", "column_get",
        "column_json", "column_list", "concat_operator_oracle", "contains", "convexhull", "crosses",
        "decode", "decode_histogram", "decode_oracle", "des_decrypt", "des_encrypt", "dimension", "disjoint", "encode",
        "encrypt", "endpoint", "envelope", "equals", "exteriorring", "geomcollfromtext",
        "geomcollfromwkb", "geometrycollectionfromtext", "geometrycollectionfromwkb",
        "geometryfromtext", "geometryfromwkb", "geometryn", "geometrytype", "geomfromtext",
        "geomfromwkb", "glength", "interiorringn", "intersects", "isclosed", "isempty", "isring",
        "issimple", "json_compact", "json_detailed", "json_exists", "json_loose", "json_query",
        "lengthb", "linefromtext", "linefromwkb", "linestringfromtext", "linestringfromwkb",
        "lpad_oracle", "ltrim_oracle", "mbrequal", "median", "mlinefromtext", "mlinefromwkb",
        "mpointfromtext", "mpointfromwkb", "mpolyfromtext", "mpolyfromwkb",
        "multilinestringfromtext", "multilinestringfromwkb", "multipointfromtext",
        "multipointfromwkb", "multipolygonfromtext", "multipolygonfromwkb", "numgeometries",
        "numinteriorrings", "numpoints", "nvl", "nvl2", "old_password", "overlaps", "password",
        "percentile_cont", "percentile_disc", "pointfromtext", "pointfromwkb", "pointn",
        "pointonsurface", "polyfromtext", "polyfromwkb", "polygonfromtext", "polygonfromwkb",
        "replace_oracle", "rownum", "rpad_oracle", "rtrim_oracle", "srid", "st_boundary", "st_isring",
        "st_pointonsurface", "st_relate", "startpoint", "substr_oracle", "sys_guid", "to_char",
        "touches", "trim_oracle", "within", "x", "y",
    ]),
    group(Call::Harmless, NEVER, 100_700, &["json_equals", "json_normalize", "natural_sort_key", "sformat"]),
    group(Call::Harmless, NEVER, 100_800, &["crc32c"]),
    group(Call::Harmless, NEVER, 110_200, &["json_array_intersect", "json_key_value", "json_object_filter_keys", "json_object_to_array"]),
    group(Call::Harmless, NEVER, 110_300, &["kdf"]),
    group(Call::Harmless, NEVER, 110_700, &["uuid_v4", "uuid_v7", "vec_distance_cosine", "vec_distance_euclidean", "vec_fromtext", "vec_totext"]),
    group(Call::Harmless, NEVER, 110_800, &["vec_distance"]),

    // In MySQL a component since 9.6: without it a stored function of the name is called.
    group(Call::Harmless, ALWAYS, ALWAYS, &["md5", "sha", "sha1"]).until(90_600),

    // Bound to the connection
    group(Call::Diagnostics, ALWAYS, ALWAYS, &["found_rows", "row_count"]),
    group(Call::LastInsertId, ALWAYS, ALWAYS, &["last_insert_id"]),
    group(Call::ConnectionId, ALWAYS, ALWAYS, &["connection_id"]),
    group(Call::Connection, 80_016, NEVER, &["ps_current_thread_id", "ps_thread_id"]),
    group(Call::Connection, NEVER, ALWAYS, &["wsrep_last_seen_gtid", "wsrep_last_written_gtid"]),
    group(Call::Locks, ALWAYS, ALWAYS, &["get_lock"]),
    group(Call::Locks, ALWAYS, NEVER, &[
        "service_get_read_locks", "service_get_write_locks", "version_tokens_lock_exclusive", "version_tokens_lock_shared",
    ]),
    group(Call::Unlocks, ALWAYS, ALWAYS, &["release_all_locks", "release_lock"]),
    group(Call::Unlocks, ALWAYS, NEVER, &["service_release_locks", "version_tokens_unlock"]),
    group(Call::AsksLock, ALWAYS, ALWAYS, &["is_free_lock", "is_used_lock"]),

    // Writing, waiting, files
    group(Call::Sequence, NEVER, ALWAYS, &["lastval", "setval"]),
    group(Call::Writes, ALWAYS, ALWAYS, &["load_file", "master_pos_wait", "uuid_short"]),
    group(Call::Writes, ALWAYS, NEVER, &[
        "wait_for_executed_gtid_set", "wait_until_sql_thread_after_gtids", "source_pos_wait",
        "asynchronous_connection_failover_add_managed", "asynchronous_connection_failover_add_source",
        "asynchronous_connection_failover_delete_managed", "asynchronous_connection_failover_delete_source",
        "asynchronous_connection_failover_reset", "group_replication_disable_member_action",
        "group_replication_enable_member_action", "group_replication_reset_member_actions",
        "group_replication_set_as_primary", "group_replication_set_communication_protocol",
        "group_replication_set_write_concurrency", "group_replication_switch_to_multi_primary_mode",
        "group_replication_switch_to_single_primary_mode", "version_tokens_delete",
        "version_tokens_edit", "version_tokens_set",
    ]),
    group(Call::Writes, NEVER, ALWAYS, &["master_gtid_wait", "wsrep_sync_wait_upto_gtid"]),

    // About the server
    group(Call::Server, ALWAYS, ALWAYS, &["version"]),
    group(Call::Server, ALWAYS, NEVER, &["icu_version", "roles_graphml", "validate_password_strength", "version_tokens_show"]),
    group(Call::Server, NEVER, ALWAYS, &["binlog_gtid_pos"]),
];
