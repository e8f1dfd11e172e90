package outbox

import "slices"

// queue is a heap of the entries of one channel.
type queue []*item

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return order(q[i], q[j]) < 0 }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	it := x.(*item)
	it.index = len(*q)
	*q = append(*q, it)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	last := len(*q) - 1
	it := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	return it
}

func (q queue) first() *item {
	if len(q) == 0 {
		return nil
	}
	return q[0]
}

func earlier(a, b *item) *item {
	if a == nil || b != nil && order(b, a) < 0 {
		return b
	}
	return a
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

func without(list []*item, it *item) []*item {
	return slices.DeleteFunc(list, func(o *item) bool { return o == it })
}
