package org.lethe.format;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import tools.jackson.core.JacksonException;
import tools.jackson.core.StreamReadConstraints;
import tools.jackson.core.StreamReadFeature;
import tools.jackson.core.TokenStreamLocation;
import tools.jackson.core.json.JsonFactory;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;
import tools.jackson.databind.node.ObjectNode;

/** JSON files of a model, distrusted: no duplicate keys, no deep nesting, no endless strings. */
final class Json {
  /** The largest configuration or index that is read. */
  private static final int LARGEST = 16_000_000;

  static final JsonMapper MAPPER =
      JsonMapper.builder(
              JsonFactory.builder()
                  .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                  .streamReadConstraints(
                      StreamReadConstraints.builder()
                          .maxNestingDepth(64)
                          .maxStringLength(1_000_000)
                          .maxNameLength(10_000)
                          .build())
                  .build())
          .build();

  private Json() {}

  /** The object that {@code file} holds. */
  static ObjectNode read(Path file) {
    try (InputStream in = Files.newInputStream(file)) {
      byte[] bytes = in.readNBytes(LARGEST + 1);
      if (bytes.length > LARGEST) {
        throw new ModelFormatException(file, "is larger than " + LARGEST + " bytes");
      }
      String text = StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
      JsonNode node = MAPPER.readTree(text);
      if (node instanceof ObjectNode object) {
        return object;
      }
      throw new ModelFormatException(file, "holds no JSON object");
    } catch (CharacterCodingException e) {
      throw new ModelFormatException(file, "is not UTF-8", e);
    } catch (JacksonException e) {
      throw malformed(file, e);
    } catch (IOException e) {
      throw ModelFormatException.of(file, e);
    }
  }

  /** What a parser said about {@code file}, as one line. */
  static ModelFormatException malformed(Path file, JacksonException e) {
    if (e.getCause() instanceof CharacterCodingException) {
      return new ModelFormatException(file, "is not UTF-8", e);
    }
    @Nullable String said = e.getOriginalMessage();
    String line = said == null ? "" : said.lines().findFirst().orElse("");
    @Nullable TokenStreamLocation at = e.getLocation();
    String where =
        at == null || at.getLineNr() < 1
            ? ""
            : " at line %d, column %d".formatted(at.getLineNr(), at.getColumnNr());
    return new ModelFormatException(file, "is not valid JSON" + where + ": " + line, e);
  }
}
