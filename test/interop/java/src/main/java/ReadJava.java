import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.LocalDateTime;
import java.time.OffsetDateTime;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.iceberg.BaseTable;
import org.apache.iceberg.ContentFile;
import org.apache.iceberg.ManifestContent;
import org.apache.iceberg.ManifestFile;
import org.apache.iceberg.ManifestFiles;
import org.apache.iceberg.MetadataColumns;
import org.apache.iceberg.Schema;
import org.apache.iceberg.Snapshot;
import org.apache.iceberg.StaticTableOperations;
import org.apache.iceberg.StructLike;
import org.apache.iceberg.Table;
import org.apache.iceberg.data.IcebergGenerics;
import org.apache.iceberg.data.Record;
import org.apache.iceberg.expressions.Expression;
import org.apache.iceberg.expressions.Expressions;
import org.apache.iceberg.expressions.Literal;
import org.apache.iceberg.hadoop.HadoopFileIO;
import org.apache.iceberg.io.CloseableIterable;
import org.apache.iceberg.types.Type;
import org.apache.iceberg.types.Types;

/**
 * The reference implementation as a judge. Takes one job a line on stdin (see ../../../../readers.ts), answers one line
 * of JSON each: rows in canonical form, rows found by predicates, row ids, and whatever is wrong in the manifests.
 */
public class ReadJava {
  static final ObjectMapper JSON = new ObjectMapper();
  static final JsonNodeFactory NODES = JsonNodeFactory.instance;
  static final DateTimeFormatter TIMESTAMP = DateTimeFormatter.ofPattern("uuuu-MM-dd'T'HH:mm:ss.SSSSSS");
  static final HadoopFileIO IO = new HadoopFileIO(new Configuration());

  public static void main(String[] args) throws IOException {
    PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
    BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line = in.readLine(); line != null; line = in.readLine()) {
      JsonNode job = JSON.readTree(line);
      ObjectNode answer = NODES.objectNode().put("table", job.get("table").asText());
      try {
        answer(job, answer);
      } catch (Exception e) {
        answer.put("error", e.toString());
      }
      out.println(JSON.writeValueAsString(answer));
    }
    System.exit(0);
  }

  static void answer(JsonNode job, ObjectNode answer) throws IOException {
    String metadata = job.get("metadata").asText();
    String key = job.get("key").asText();
    Table table = new BaseTable(new StaticTableOperations(metadata, IO), metadata);
    answer.set("problems", problems(table, job.path("isHistoryGone").asBoolean()));
    ArrayNode rows = answer.putArray("rows");
    for (Record record : scan(table, table.schema(), null, Expressions.alwaysTrue()))
      rows.add(canonical(table.schema().asStruct(), record));
    answer.put("count", rows.size());
    ObjectNode snapshots = answer.putObject("snapshots");
    for (JsonNode id : job.get("snapshots"))
      snapshots.set(id.asText(), keys(table, key, id.asLong(), Expressions.alwaysTrue()));
    ArrayNode predicates = answer.putArray("predicates");
    for (JsonNode predicate : job.get("predicates")) predicates.add(attempt(table, key, predicate));
    if (job.get("lineage").asBoolean()) answer.set("lineage", lineage(table, key));
  }

  static ArrayNode attempt(Table table, String key, JsonNode predicate) {
    try {
      return keys(table, key, null, expression(table, predicate));
    } catch (RuntimeException e) {
      return NODES.arrayNode().add(e.toString());
    }
  }

  static ArrayNode keys(Table table, String key, Long snapshot, Expression filter) {
    ArrayNode keys = NODES.arrayNode();
    for (Record record : scan(table, table.schema(), snapshot, filter)) keys.add(String.valueOf(record.getField(key)));
    return keys;
  }

  static ObjectNode lineage(Table table, String key) {
    List<Types.NestedField> fields = new ArrayList<>(table.schema().columns());
    fields.add(MetadataColumns.ROW_ID);
    fields.add(MetadataColumns.LAST_UPDATED_SEQUENCE_NUMBER);
    ObjectNode lineage = NODES.objectNode();
    for (Record record : scan(table, new Schema(fields), null, Expressions.alwaysTrue()))
      lineage.putArray(String.valueOf(record.getField(key)))
          .add(String.valueOf(record.getField(MetadataColumns.ROW_ID.name())))
          .add(String.valueOf(record.getField(MetadataColumns.LAST_UPDATED_SEQUENCE_NUMBER.name())));
    return lineage;
  }

  static List<Record> scan(Table table, Schema schema, Long snapshot, Expression filter) {
    if (table.currentSnapshot() == null) return List.of();
    IcebergGenerics.ScanBuilder builder = IcebergGenerics.read(table).project(schema).where(filter);
    if (snapshot != null) builder = builder.useSnapshot(snapshot);
    List<Record> records = new ArrayList<>();
    try (CloseableIterable<Record> found = builder.build()) {
      found.forEach(records::add);
    } catch (IOException e) {
      throw new RuntimeException(e);
    }
    return records;
  }

  static Expression expression(Table table, JsonNode predicate) {
    String column = predicate.get("column").asText();
    switch (predicate.get("op").asText()) {
      case "isNull": return Expressions.isNull(column);
      case "notNull": return Expressions.notNull(column);
      case "isNaN": return Expressions.isNaN(column);
    }
    Object value = value(table.schema().findType(column), predicate.get("value"));
    switch (predicate.get("op").asText()) {
      case "eq": return Expressions.equal(column, value);
      case "lt": return Expressions.lessThan(column, value);
      case "gteq": return Expressions.greaterThanOrEqual(column, value);
      default: throw new IllegalArgumentException(predicate.toString());
    }
  }

  /** A value from its canonical form. */
  static Object value(Type type, JsonNode text) {
    switch (type.typeId()) {
      case BOOLEAN: return text.asBoolean();
      case INTEGER: return text.asInt();
      case LONG: return Long.parseLong(text.asText());
      case FLOAT: return Float.intBitsToFloat(Integer.parseUnsignedInt(text.asText().substring(2), 16));
      case DOUBLE: return Double.longBitsToDouble(Long.parseUnsignedLong(text.asText().substring(2), 16));
      case STRING: return text.asText();
      case DECIMAL: return new BigDecimal(text.asText());
      case UUID: return UUID.fromString(text.asText());
      case BINARY: return bytes(text.asText());
      default: return Literal.of(text.asText()).to(type).value();
    }
  }

  static ByteBuffer bytes(String hex) {
    ByteBuffer bytes = ByteBuffer.allocate(hex.length() / 2);
    for (int i = 1; i < hex.length(); i += 2) bytes.put((byte) Integer.parseInt(hex.substring(i, i + 2), 16));
    return bytes.flip();
  }

  /** Every manifest of every snapshot that is kept: its length, its counts, and that its files exist with the stated size. */
  static ArrayNode problems(Table table, boolean isHistoryGone) throws IOException {
    ArrayNode problems = NODES.arrayNode();
    Set<String> seen = new HashSet<>();
    for (Snapshot snapshot : table.snapshots()) {
      if (isHistoryGone && snapshot != table.currentSnapshot()) continue;
      long records = 0, deletes = 0, deleteFiles = 0;
      for (ManifestFile manifest : snapshot.allManifests(IO)) {
        long rows = manifest.addedRowsCount() + manifest.existingRowsCount();
        if (manifest.content() == ManifestContent.DATA) records += rows;
        else {
          deletes += rows;
          deleteFiles += manifest.addedFilesCount() + manifest.existingFilesCount();
        }
        if (seen.add(manifest.path())) check(table, manifest, seen, problems);
      }
      if (records != Long.parseLong(snapshot.summary().get("total-records")))
        problems.add("total-records of snapshot " + snapshot.snapshotId());
      if (deletes != Long.parseLong(snapshot.summary().get("total-position-deletes")))
        problems.add("total-position-deletes of snapshot " + snapshot.snapshotId());
      if (deleteFiles != Long.parseLong(snapshot.summary().get("total-delete-files")))
        problems.add("total-delete-files of snapshot " + snapshot.snapshotId());
    }
    return problems;
  }

  static void check(Table table, ManifestFile manifest, Set<String> seen, ArrayNode problems) throws IOException {
    if (IO.newInputFile(manifest.path()).getLength() != manifest.length()) problems.add("length of " + manifest.path());
    long rows = 0;
    int files = 0;
    boolean isData = manifest.content() == ManifestContent.DATA;
    try (CloseableIterable<? extends ContentFile<?>> entries =
        isData
            ? ManifestFiles.read(manifest, IO, table.specs())
            : ManifestFiles.readDeleteManifest(manifest, IO, table.specs())) {
      for (ContentFile<?> file : entries) {
        files++;
        rows += file.recordCount();
        if (seen.add(file.location()) && IO.newInputFile(file.location()).getLength() != file.fileSizeInBytes())
          problems.add("size of " + file.location());
      }
    }
    if (files != manifest.addedFilesCount() + manifest.existingFilesCount()) problems.add("files in " + manifest.path());
    if (rows != manifest.addedRowsCount() + manifest.existingRowsCount()) problems.add("rows in " + manifest.path());
  }

  static JsonNode canonical(Type type, Object value) {
    if (value == null) return NODES.nullNode();
    switch (type.typeId()) {
      case BOOLEAN: return NODES.booleanNode((Boolean) value);
      case INTEGER: return NODES.numberNode((Integer) value);
      case FLOAT: return NODES.textNode(bits((Float) value));
      case DOUBLE: return NODES.textNode(bits((Double) value));
      case DECIMAL: return NODES.textNode(((BigDecimal) value).toPlainString());
      case BINARY: return NODES.textNode(hex((ByteBuffer) value));
      case TIMESTAMP: return NODES.textNode(timestamp(value));
      case LIST: {
        ArrayNode list = NODES.arrayNode();
        for (Object item : (List<?>) value) list.add(canonical(type.asListType().elementType(), item));
        return list;
      }
      case MAP: {
        ArrayNode map = NODES.arrayNode();
        ((Map<?, ?>) value).entrySet().stream()
            .sorted((a, b) -> Arrays.compareUnsigned(utf8(a.getKey()), utf8(b.getKey())))
            .forEach(entry -> map.addArray()
                .add(entry.getKey().toString())
                .add(canonical(type.asMapType().valueType(), entry.getValue())));
        return map;
      }
      case STRUCT: {
        ObjectNode struct = NODES.objectNode();
        List<Types.NestedField> fields = type.asStructType().fields();
        for (int i = 0; i < fields.size(); i++)
          struct.set(fields.get(i).name(), canonical(fields.get(i).type(), ((StructLike) value).get(i, Object.class)));
        return struct;
      }
      default: return NODES.textNode(value.toString());
    }
  }

  static byte[] utf8(Object text) {
    return text.toString().getBytes(StandardCharsets.UTF_8);
  }

  static String bits(float value) {
    return Float.isNaN(value) ? "NaN" : String.format("0x%08x", Float.floatToRawIntBits(value));
  }

  static String bits(double value) {
    return Double.isNaN(value) ? "NaN" : String.format("0x%016x", Double.doubleToRawLongBits(value));
  }

  static String timestamp(Object value) {
    return value instanceof OffsetDateTime
        ? TIMESTAMP.format((OffsetDateTime) value) + "+00:00"
        : TIMESTAMP.format((LocalDateTime) value);
  }

  static String hex(ByteBuffer value) {
    StringBuilder text = new StringBuilder("x");
    for (ByteBuffer bytes = value.duplicate(); bytes.hasRemaining(); ) text.append(String.format("%02x", bytes.get()));
    return text.toString();
  }
}
