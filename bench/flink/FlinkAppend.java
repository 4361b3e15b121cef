import java.io.File;
import java.lang.management.ManagementFactory;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;

/**
 * The same append in Flink SQL: orders from Kafka to an Iceberg table on disk, exactly once, in one local JVM.
 * Arguments: broker, topic, records of each partition to read, number of partitions, folder. Prints what it used.
 */
public class FlinkAppend {
  private static final String COLUMNS =
      "order_id STRING, customer_id STRING, amount DOUBLE, event_time BIGINT, status STRING,"
          + " address ROW<street STRING, city STRING, zip STRING, country STRING>";

  public static void main(String[] args) throws Exception {
    long startedNs = System.nanoTime();
    String warehouse = new File(args[4]).getAbsolutePath();
    Configuration settings = new Configuration();
    settings.setString("parallelism.default", "2");
    settings.setString("taskmanager.numberOfTaskSlots", "2");
    settings.setString("pipeline.object-reuse", "true");
    settings.setString("execution.checkpointing.interval", "10s");
    settings.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
    settings.setString("execution.checkpointing.dir", "file://" + warehouse + "-checkpoints");
    TableEnvironment tables =
        TableEnvironment.create(EnvironmentSettings.newInstance().withConfiguration(settings).inStreamingMode().build());

    tables.executeSql("CREATE CATALOG lake WITH ('type'='iceberg', 'catalog-type'='hadoop', 'warehouse'='file://" + warehouse + "')");
    tables.executeSql("CREATE DATABASE lake.bench");
    tables.executeSql("CREATE TABLE lake.bench.orders (" + COLUMNS + ") WITH ('format-version'='2',"
        + " 'write.format.default'='parquet', 'write.parquet.compression-codec'='zstd')");
    tables.executeSql("CREATE TEMPORARY TABLE source (" + COLUMNS + ") WITH ('connector'='kafka', 'topic'='" + args[1]
        + "', 'properties.bootstrap.servers'='" + args[0] + "', 'properties.group.id'='flink', 'format'='json',"
        + " 'scan.startup.mode'='earliest-offset', 'scan.bounded.mode'='specific-offsets',"
        + " 'scan.bounded.specific-offsets'='" + offsets(Long.parseLong(args[2]), Integer.parseInt(args[3])) + "')");
    tables.executeSql("INSERT INTO lake.bench.orders SELECT * FROM source").await();

    System.out.printf("{\"seconds\": %.3f, \"cpuSeconds\": %.3f}%n", (System.nanoTime() - startedNs) / 1e9, cpuSeconds());
    System.exit(0);
  }

  private static String offsets(long records, int partitions) {
    StringBuilder text = new StringBuilder();
    for (int partition = 0; partition < partitions; partition++)
      text.append(partition == 0 ? "" : ";").append("partition:").append(partition).append(",offset:").append(records);
    return text.toString();
  }

  private static double cpuSeconds() {
    var system = (com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
    return system.getProcessCpuTime() / 1e9;
  }
}
