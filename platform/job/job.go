// Package job is the seam for job objects: processes that are born into one end
// together, whoever started them. Only Windows has them; elsewhere there is
// nothing in here.
package job
