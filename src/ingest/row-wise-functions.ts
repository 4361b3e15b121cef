/**
 * Scalar functions that a definition's expressions may call: what they give follows from their arguments and this
 * code alone, on every machine and in every replay (rule T5). Not here: what looks at a clock, at chance, at settings,
 * at files or at other rows; hashes that a newer DuckDB may compute otherwise; what makes a value of any size from a
 * small one; and what runs a function that is named by a text.
 */
export const ROW_WISE: ReadonlySet<string> = new Set(
  `
  + - * / // % ** ^ & | ~ << >> || @ @> <@ && ^@ ->>
  ~~ !~~ ~~* !~~* ~~~ like_escape not_like_escape ilike_escape not_ilike_escape contains prefix suffix

  abs acos add asin atan atan2 bit_count cbrt ceil ceiling cos cot degrees divide even exp floor fmod gcd greatest
  isfinite isinf isnan lcm least ln log log10 log2 mod multiply pi pow power radians round sign signbit sin sqrt
  subtract tan trunc xor

  ascii bit_length char_length chr concat concat_ws decode encode ends_with format_bytes from_base64 from_hex hex instr
  lcase left len length lower ltrim md5 nfc_normalize octet_length ord position regexp_escape regexp_extract
  regexp_extract_all regexp_full_match regexp_matches regexp_replace regexp_split_to_array replace reverse right rtrim
  sha1 sha256 split split_part starts_with str_split str_split_regex string_split string_split_regex string_to_array
  strip_accents strlen strpos substr substring to_base64 to_hex translate trim try_strptime ucase unhex unicode upper
  url_decode url_encode

  century date_add date_diff date_part date_sub date_trunc datediff datepart datesub datetrunc day dayname dayofmonth
  dayofweek dayofyear decade epoch epoch_ms epoch_ns epoch_us era hour isodow isoyear julian last_day make_date
  make_time make_timestamp make_timestamp_ms make_timestamptz microsecond millennium millisecond minute month monthname
  nanosecond quarter second strftime strptime time_bucket timezone to_days to_hours to_microseconds to_milliseconds
  to_minutes to_months to_quarters to_seconds to_timestamp to_weeks to_years week weekday weekofyear year yearweek

  constant_or_null nullif typeof uuid_extract_timestamp uuid_extract_version

  array_append array_apply array_cat array_concat array_contains array_distinct array_extract array_filter array_has
  array_has_all array_has_any array_intersect array_length array_position array_prepend array_reverse array_slice
  array_sort array_to_string array_transform apply element_at filter flatten list_append list_apply list_cat list_concat
  list_contains list_count list_distinct list_element list_extract list_filter list_has list_has_all list_has_any
  list_indexof list_intersect list_max list_min list_position list_prepend list_reduce list_reverse list_reverse_sort
  list_slice list_sort list_sum list_transform list_unique list_value list_zip

  cardinality map map_contains map_entries map_extract map_extract_value map_from_entries map_keys map_values row
  struct_concat struct_extract struct_extract_at struct_insert struct_keys struct_pack struct_values

  json_array_length json_contains json_exists json_extract json_extract_path json_extract_path_text json_extract_string
  json_keys json_quote json_type json_valid json_value to_json
  `
    .trim()
    .split(/\s+/),
)

/** Those whose second argument may be a lambda; elsewhere `->` reads JSON. */
export const TAKES_LAMBDA: ReadonlySet<string> = new Set(
  'array_apply array_filter array_transform apply filter list_apply list_filter list_reduce list_transform'.split(' '),
)

/** What is something else each time it is asked, as a function or as a bare word. */
export const NOT_REPEATABLE: ReadonlySet<string> = new Set(
  `age ago current_catalog current_database current_date current_localtime current_localtimestamp current_query
  current_role current_schema current_schemas current_setting current_time current_timestamp current_user
  gen_random_uuid get_current_time get_current_timestamp getenv getvariable localtime localtimestamp nextval currval now
  random session_user setseed today transaction_timestamp txid_current user uuid uuidv4 uuidv7`
    .trim()
    .split(/\s+/),
)
