package testhost

import "sync"

// rooms are in the host's memory. A socket that another worker takes over stays in its rooms: they go by its id.
type rooms struct {
	mu sync.Mutex
	of map[string]map[string]*Socket
}

func (r *rooms) join(room string, s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = make(map[string]map[string]*Socket)
	}
	if r.of[room] == nil {
		r.of[room] = make(map[string]*Socket)
	}
	r.of[room][s.ID] = s
}

func (r *rooms) leave(room string, s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if delete(r.of[room], s.ID); len(r.of[room]) == 0 {
		delete(r.of, room)
	}
}

// leaveAll takes a socket out of all its rooms.
func (r *rooms) leaveAll(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for room, members := range r.of {
		if delete(members, s.ID); len(members) == 0 {
			delete(r.of, room)
		}
	}
}

// takeOver puts a socket into the rooms of the one before it.
func (r *rooms) takeOver(s *Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, members := range r.of {
		if members[s.ID] != nil {
			members[s.ID] = s
		}
	}
}

func (r *rooms) members(room string) (all []*Socket) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.of[room] {
		all = append(all, s)
	}
	return all
}
