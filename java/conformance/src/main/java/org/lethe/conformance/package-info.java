/**
 * Trials of every operation of {@code lethe.h}, on any library that implements it: {@link
 * org.lethe.conformance.Conformance} runs them.
 *
 * <p>A trial calls an operation once and holds what comes of it to a reference in plain Java and
 * double, within the tolerance of the operation; bytes that are not the call's to write must stay,
 * and bits must not depend on where operands lie.
 */
@NullMarked
package org.lethe.conformance;

import org.jspecify.annotations.NullMarked;
