package org.lethe.unlearn;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.lethe.kernels.Device;

/** What made a result: names and SHA-256 checksums of the files it came from. */
final class Provenance {
  /** The version of this build, as its jar's manifest has it. */
  static final String VERSION = version();

  private Provenance() {}

  private static String version() {
    String version = Provenance.class.getPackage().getImplementationVersion();
    return version == null ? "development" : version;
  }

  /** The start of every record: Lethe's version, the device, the model that it begins with. */
  static Map<String, Object> record(Device device, Path model) throws IOException {
    var record = new LinkedHashMap<String, Object>();
    record.put("lethe", VERSION);
    record.put("device", device.name());
    record.put("model", of(model));
    return record;
  }

  /** Name and checksum of each text. */
  static List<Map<String, Object>> of(List<Path> files) throws IOException {
    var list = new ArrayList<Map<String, Object>>();
    for (Path file : files) {
      list.add(of(file));
    }
    return list;
  }

  /** Name and checksum of a file, or of a model's folder: its configuration, tokenizer, weights. */
  static Map<String, Object> of(Path path) throws IOException {
    var entry = new LinkedHashMap<String, Object>();
    entry.put("path", path.toString());
    entry.put("sha256", Files.isDirectory(path) ? directory(path) : file(path));
    return entry;
  }

  private static Map<String, String> directory(Path directory) throws IOException {
    var sums = new LinkedHashMap<String, String>();
    try (Stream<Path> files = Files.list(directory)) {
      for (Path file : files.sorted().toList()) {
        String name = file.getFileName().toString();
        if (name.endsWith(".safetensors")
            || name.equals("config.json")
            || name.equals("generation_config.json")
            || name.equals("tokenizer.json")) {
          sums.put(name, file(file));
        }
      }
    }
    return sums;
  }

  static String file(Path file) throws IOException {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has SHA-256", e);
    }
    byte[] buffer = new byte[1 << 20];
    try (InputStream in = Files.newInputStream(file)) {
      for (int n = in.read(buffer); n >= 0; n = in.read(buffer)) {
        digest.update(buffer, 0, n);
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }
}
