//! Pages of files kept in memory for readers, within a bound.
