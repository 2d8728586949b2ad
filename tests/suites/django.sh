# shellcheck shell=bash
# shellcheck disable=SC2154  # run.sh sets them
# Django's tests of its ORM, by its own runner. Sourced by run.sh.

version=5.2.19

prepare() {
    source_of Django "$version"
    venv_with "Django==$version" mysqlclient Pillow jinja2 tzdata sqlparse PyYAML docutils
}

databases() { :; }     # it creates its own

# Without them every test with a named time zone fails.
cluster_started() {
    docker exec "rwproxy-$cluster-primary" sh -c \
        'mysql_tzinfo_to_sql /usr/share/zoneinfo 2>/dev/null | MYSQL_PWD=root mysql -uroot mysql'
}

apps=(
    aggregation aggregation_regress annotations backends basic bulk_create constraints custom_columns custom_managers
    custom_pk datetimes db_functions defer delete expressions expressions_case expressions_window extra_regress
    field_defaults foreign_object generic_relations get_or_create indexes inspectdb introspection known_related_objects
    lookup m2m_through many_to_many many_to_one migrations model_fields model_inheritance multiple_database null_fk
    one_to_one ordering prefetch_related queries raw_query schema select_for_update select_related sessions_tests
    timezones transaction_hooks transactions update update_only_fields
)

run() {
    [ -z "$short" ] || apps=(backends transactions transaction_hooks select_for_update basic)
    cd "$source/tests" || exit
    RESULTS="$results" TEST_HOST="$1" TEST_PORT="$2" PYTHONPATH="$here" "$venv/bin/python" runtests.py \
        --settings=django_settings --parallel=1 --noinput "${apps[@]}"
}
