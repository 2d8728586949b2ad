//! Databases that tell about a server, and the tables of `information_schema` that tell about
//! replicated data all the same.

/// Databases whose tables differ from server to server.
const SYSTEM_DATABASES: [&[u8]; 4] =
    [b"information_schema", b"mysql", b"performance_schema", b"sys"];

/// Whether tables of this database tell about a server rather than about replicated data.
pub fn is_system_database(name: &[u8]) -> bool {
    SYSTEM_DATABASES.iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Sorted. What is not listed (PROCESSLIST, INNODB_…, variables, EVENTS with their state, plugins,
/// privileges, statistics of use) differs from server to server.
#[rustfmt::skip]
const ALIKE: &[&str] = &[
    "character_sets", "check_constraints", "collation_character_set_applicability", "collations",
    "columns", "columns_extensions", "geometry_columns", "key_column_usage", "keywords",
    "parameters", "partitions", "periods", "referential_constraints", "routines", "schemata",
    "schemata_extensions", "sequences", "spatial_ref_sys", "sql_functions", "st_geometry_columns",
    "st_spatial_reference_systems", "st_units_of_measure", "statistics", "table_constraints",
    "table_constraints_extensions", "tables", "tables_extensions", "triggers", "view_routine_usage",
    "view_table_usage", "views",
];

/// Whether every server that has the data gives the same rows of `information_schema.name`.
pub fn is_alike_everywhere(name: &[u8]) -> bool {
    ALIKE.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}
