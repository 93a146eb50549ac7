package org.lethe.format;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.DirectoryStream;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.ThreadLocalRandom;

/**
 * Writes a file or a folder under a passing name beside its place, and renames it when all of it is
 * on the disk: whoever finds it there finds it whole.
 */
final class Aside {

  /** Makes the file or folder {@code aside}. */
  @FunctionalInterface
  interface Work {
    void make(Path aside) throws IOException;
  }

  /** Writes into a file that is open. */
  @FunctionalInterface
  interface Content {
    void write(FileChannel file) throws IOException;
  }

  private Aside() {}

  /**
   * Makes {@code target}, or nothing.
   *
   * @param bytes how much room it takes
   * @throws ModelFormatException where it exists already, its folder does not or has no room, or
   *     the file system refuses
   */
  static void make(Path target, long bytes, Work work) {
    Path place = target.toAbsolutePath().normalize();
    Path folder = place.getParent();
    if (folder == null || Files.exists(place, LinkOption.NOFOLLOW_LINKS)) {
      throw new ModelFormatException(target, "exists already; it is not overwritten");
    }
    if (!Files.isDirectory(folder)) {
      throw new ModelFormatException(target, "cannot be written: there is no folder " + folder);
    }
    String passing =
        ".%s.%08x.partial".formatted(place.getFileName(), ThreadLocalRandom.current().nextInt());
    Path aside = folder.resolve(passing);
    try {
      long free = Files.getFileStore(folder).getUsableSpace();
      if (free < bytes) {
        throw new ModelFormatException(
            target, "takes %,d bytes, its disk has %,d free".formatted(bytes, free));
      }
      work.make(aside);
      if (Files.exists(place, LinkOption.NOFOLLOW_LINKS)) {
        throw new FileAlreadyExistsException(place.toString());
      }
      Files.move(aside, place, StandardCopyOption.ATOMIC_MOVE);
      sync(folder);
    } catch (IOException e) {
      remove(aside, e);
      throw ModelFormatException.of(target, e);
    } catch (RuntimeException | Error e) {
      remove(aside, e);
      throw e;
    }
  }

  /** Writes a new file and waits until the disk has it. */
  static void file(Path file, Content content) throws IOException {
    try (FileChannel channel =
        FileChannel.open(file, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      content.write(channel);
      channel.force(true);
    }
  }

  /** Waits until the disk has the names in {@code folder}. */
  static void sync(Path folder) throws IOException {
    try (FileChannel channel = FileChannel.open(folder, StandardOpenOption.READ)) {
      channel.force(true);
    }
  }

  private static void remove(Path aside, Throwable because) {
    try {
      if (Files.isDirectory(aside)) {
        try (DirectoryStream<Path> files = Files.newDirectoryStream(aside)) {
          for (Path file : files) {
            Files.delete(file);
          }
        }
      }
      Files.deleteIfExists(aside);
    } catch (IOException e) {
      because.addSuppressed(e);
    }
  }
}
