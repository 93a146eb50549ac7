/** The {@code lethe} command: picocli over the engine, one class a command. */
@NullMarked
package org.lethe.cli;

import org.jspecify.annotations.NullMarked;
