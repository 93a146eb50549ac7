package org.lethe.train;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.DirectoryStream;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.ObjectMapper;
import tools.jackson.databind.SerializationFeature;
import tools.jackson.databind.json.JsonMapper;

/**
 * A folder that one run at a time writes in, with the record of what makes it: {@code run.json}.
 * Opened again with the same record it goes on (of a file in it, {@code {path, sha256}}, the
 * checksum alone counts); with another it refuses, and says what differs, unless nothing was made
 * yet: an argument that let a run fail at its start can be mended.
 */
public final class RunFolder implements AutoCloseable {
  private static final String RECORD = "run.json";
  private static final String LOCK = ".lock";
  private static final ObjectMapper JSON =
      JsonMapper.builder().enable(SerializationFeature.INDENT_OUTPUT).build();

  private final Path directory;
  private final FileChannel lockFile;
  private final boolean fresh;

  private RunFolder(Path directory, FileChannel lockFile, boolean fresh) {
    this.directory = directory;
    this.lockFile = lockFile;
    this.fresh = fresh;
  }

  /**
   * Opens the folder, creating it if need be.
   *
   * @param record all that decides the run's result, as JSON values by name
   * @throws IOException if it cannot be written, holds something else, or another run is in it
   */
  public static RunFolder open(Path directory, Map<String, ?> record) throws IOException {
    boolean existed = Files.isDirectory(directory);
    FileChannel channel = null;
    try {
      Files.createDirectories(directory);
      boolean foreign = existed && !Files.exists(directory.resolve(RECORD)) && !isEmpty(directory);
      if (foreign) {
        throw new IOException(
            directory + " holds files but no " + RECORD + ": choose an empty folder");
      }
      if (isOpenHere(directory.resolve(LOCK))) {
        throw inUse(directory);
      }
      channel =
          FileChannel.open(
              directory.resolve(LOCK), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
      lock(channel, directory);
      boolean fresh = checkRecord(directory, JSON.valueToTree(record));
      return new RunFolder(directory, channel, fresh);
    } catch (IOException | RuntimeException e) {
      if (channel != null) {
        channel.close();
      }
      if (e instanceof FileSystemException) {
        throw new IOException(directory + " cannot be written in: " + e.getMessage(), e);
      }
      throw e;
    }
  }

  private static boolean isEmpty(Path directory) throws IOException {
    try (DirectoryStream<Path> files = Files.newDirectoryStream(directory)) {
      for (Path file : files) {
        String name = file.getFileName().toString();
        if (!name.equals(LOCK) && !name.endsWith(".tmp")) {
          return false;
        }
      }
      return true;
    }
  }

  private static void lock(FileChannel channel, Path directory) throws IOException {
    FileLock lock;
    try {
      lock = channel.tryLock();
    } catch (OverlappingFileLockException e) {
      lock = null;
    }
    if (lock == null) {
      throw inUse(directory);
    }
  }

  private static IOException inUse(Path directory) {
    return new IOException(
        "another run is working in " + directory + ": wait for it, or choose another folder");
  }

  /**
   * Whether this process has the file open. To open and close it once more would drop the lock
   * (fcntl(2): closing any descriptor of a file releases all of the process's locks on it).
   */
  private static boolean isOpenHere(Path file) throws IOException {
    Path descriptors = Path.of("/proc/self/fd");
    if (!Files.exists(file) || !Files.isDirectory(descriptors)) {
      return false;
    }
    Path real = file.toRealPath();
    try (DirectoryStream<Path> open = Files.newDirectoryStream(descriptors)) {
      for (Path descriptor : open) {
        if (Files.isSymbolicLink(descriptor) && Files.readSymbolicLink(descriptor).equals(real)) {
          return true;
        }
      }
    } catch (NoSuchFileException e) {
      return isOpenHere(file); // another thread closed a descriptor meanwhile
    }
    return false;
  }

  /** Writes the record if there is none that something was made by; returns whether it did. */
  private static boolean checkRecord(Path directory, JsonNode wanted) throws IOException {
    Path file = directory.resolve(RECORD);
    if (!Files.exists(file)) {
      writeAtomically(file, JSON.writeValueAsBytes(wanted));
      return true;
    }
    JsonNode found;
    try {
      found = JSON.readTree(Files.readAllBytes(file));
    } catch (JacksonException e) {
      throw new IOException(file + " is not JSON: " + e.getOriginalMessage(), e);
    }
    List<String> differences = new ArrayList<>();
    compare("", found, wanted, differences);
    if (!differences.isEmpty() && !isUnmade(directory)) {
      throw new IOException(
          "%s was made by another run; choose another folder, or go on with the same arguments:%n  %s"
              .formatted(directory, String.join("\n  ", differences)));
    }
    if (differences.isEmpty()) {
      return false;
    }
    writeAtomically(file, JSON.writeValueAsBytes(wanted));
    return true;
  }

  /** Whether the runs in it, and in folders below, ended before they made anything. */
  private static boolean isUnmade(Path directory) throws IOException {
    try (Stream<Path> files = Files.walk(directory)) {
      return files
          .filter(file -> !Files.isDirectory(file))
          .map(file -> file.getFileName().toString())
          .allMatch(name -> name.equals(RECORD) || name.equals(LOCK) || name.endsWith(".tmp"));
    }
  }

  /** Of a file, its checksum counts, wherever it lies. */
  private static boolean isSameFile(JsonNode found, JsonNode wanted) {
    return found.has("path")
        && found.has("sha256")
        && found.path("sha256").equals(wanted.path("sha256"));
  }

  private static void compare(String at, JsonNode found, JsonNode wanted, List<String> out) {
    if (isSameFile(found, wanted)) {
      return;
    }
    if (found.isArray() && wanted.isArray() && found.size() == wanted.size()) {
      for (int i = 0; i < found.size(); i++) {
        compare("%s[%d]".formatted(at, i), found.get(i), wanted.path(i), out);
      }
    } else if (found.isObject() && wanted.isObject()) {
      var names = new TreeSet<String>();
      names.addAll(found.propertyNames());
      names.addAll(wanted.propertyNames());
      for (String name : names) {
        compare(at.isEmpty() ? name : at + "." + name, found.path(name), wanted.path(name), out);
      }
    } else if (!found.toString().equals(wanted.toString())) {
      out.add("%s: there %s, now %s".formatted(at, text(found), text(wanted)));
    }
  }

  private static String text(JsonNode node) {
    return node.isMissingNode() ? "nothing" : node.toString();
  }

  /** The folder. */
  public Path directory() {
    return directory;
  }

  /** True if this run is the first to open it. */
  public boolean isFresh() {
    return fresh;
  }

  /** Throws if the folder's disk has less than {@code bytes} left. */
  public void requireSpace(long bytes) throws IOException {
    long free = Files.getFileStore(directory).getUsableSpace();
    if (free < bytes) {
      throw new IOException(
          "%s has %,d MB left, this run needs %,d MB for its checkpoints and its result"
              .formatted(directory, free / 1_000_000, bytes / 1_000_000));
    }
  }

  /** Writes a JSON file of the folder, whole or not at all. */
  public void writeJson(String name, Object value) throws IOException {
    writeAtomically(directory.resolve(name), JSON.writeValueAsBytes(value));
  }

  /** Reads a JSON file of the folder; null if there is none. */
  public @Nullable JsonNode readJson(String name) throws IOException {
    Path file = directory.resolve(name);
    if (!Files.exists(file)) {
      return null;
    }
    try {
      return JSON.readTree(Files.readAllBytes(file));
    } catch (JacksonException e) {
      throw new IOException(file + " is not JSON: " + e.getOriginalMessage(), e);
    }
  }

  /** Writes a file whole or not at all: aside, synced, renamed. */
  public static void writeAtomically(Path file, byte[] bytes) throws IOException {
    Path aside = file.resolveSibling(file.getFileName() + ".tmp");
    try (FileChannel out =
        FileChannel.open(
            aside,
            StandardOpenOption.CREATE,
            StandardOpenOption.TRUNCATE_EXISTING,
            StandardOpenOption.WRITE)) {
      var buffer = java.nio.ByteBuffer.wrap(bytes);
      while (buffer.hasRemaining()) {
        out.write(buffer);
      }
      out.force(true);
    }
    Files.move(aside, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    syncDirectory(file.toAbsolutePath().getParent());
  }

  /** Makes renames in a folder survive a power cut. */
  static void syncDirectory(@Nullable Path directory) throws IOException {
    if (directory != null) {
      try (FileChannel channel = FileChannel.open(directory, StandardOpenOption.READ)) {
        channel.force(true);
      }
    }
  }

  /** Lets other runs in. */
  @Override
  public void close() throws IOException {
    lockFile.close();
  }
}
