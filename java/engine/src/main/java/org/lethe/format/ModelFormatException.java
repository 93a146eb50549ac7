package org.lethe.format;

import java.io.IOException;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/**
 * A model file that cannot be read or written: missing, malformed, of an unknown kind, or refused
 * by the file system. The message is one line that begins with the file.
 */
public final class ModelFormatException extends RuntimeException {
  private static final int LONGEST = 400;

  private final transient Path file;

  ModelFormatException(Path file, String problem) {
    this(file, problem, null);
  }

  ModelFormatException(Path file, String problem, @Nullable Throwable cause) {
    super(file + ": " + oneLine(problem), cause);
    this.file = file;
  }

  /** What a broken file says of itself may be long, or hold line breaks. */
  private static String oneLine(String problem) {
    String start = problem.substring(0, Math.min(LONGEST, problem.length()));
    return start.replaceAll("\\p{Cntrl}", "?") + (start.length() < problem.length() ? "..." : "");
  }

  /** What the file system said about {@code file}, in words. */
  static ModelFormatException of(Path file, IOException e) {
    return new ModelFormatException(
        file,
        switch (e) {
          case NoSuchFileException _ -> "does not exist";
          case AccessDeniedException _ -> "permission denied";
          case FileAlreadyExistsException _ -> "exists already";
          case FileSystemException f when f.getReason() != null -> f.getReason();
          default -> e.getMessage() == null ? e.toString() : e.getMessage();
        },
        e);
  }

  /** The file or folder at fault. */
  public Path file() {
    return file;
  }
}
