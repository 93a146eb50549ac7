/**
 * The transformer, written by hand as calls of kernels: configuration, weights, forward, backward,
 * decoding.
 */
@NullMarked
package org.lethe.model;

import org.jspecify.annotations.NullMarked;
